"""Files of models and of trainings: written whole, read without unpickling."""
