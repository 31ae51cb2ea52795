"""`python -m mlflow_kserve`."""

from mlflow_kserve.cli import main

if __name__ == "__main__":
    main()
