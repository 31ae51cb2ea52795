"""`python -m controlplane`: the same as `mlflow-kserve up`."""

from controlplane.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
