"""The machine: compiling, meshes, processes, the allocator."""
