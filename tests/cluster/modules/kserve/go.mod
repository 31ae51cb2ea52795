module mlflow-kserve/tests/cluster/kserve

go 1.25.0

tool github.com/kserve/kserve/cmd/manager

require github.com/kserve/kserve v0.20.0
