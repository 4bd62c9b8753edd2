from tools.mutants.run import main

if __name__ == "__main__":
    main()
