module mlflow-kserve/tests/cluster/pause

go 1.25.0
