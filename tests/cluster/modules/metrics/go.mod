module mlflow-kserve/tests/cluster/metrics

go 1.25.0

tool sigs.k8s.io/metrics-server/cmd/metrics-server

require sigs.k8s.io/metrics-server v0.9.0
