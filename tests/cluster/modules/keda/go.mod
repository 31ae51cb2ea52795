module mlflow-kserve/tests/cluster/keda

go 1.25.0

tool github.com/kedacore/keda/v2/cmd/operator

tool github.com/kedacore/keda/v2/cmd/adapter

require github.com/kedacore/keda/v2 v2.21.0

replace github.com/nexus-rpc/nexus-proto-annotations v0.1.0 => github.com/nexus-rpc/nexus-proto-annotations v0.1.1-0.20260629224316-835bd8d49cb4
