module mlflow-kserve/tests/cluster/keda

go 1.25.0

tool github.com/kedacore/keda/v2/cmd/operator
tool github.com/kedacore/keda/v2/cmd/adapter

require github.com/kedacore/keda/v2 v2.21.0
