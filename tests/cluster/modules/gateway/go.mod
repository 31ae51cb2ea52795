module mlflow-kserve/tests/cluster/gateway

go 1.25.0

tool github.com/envoyproxy/gateway/cmd/envoy-gateway

require github.com/envoyproxy/gateway v1.9.1
