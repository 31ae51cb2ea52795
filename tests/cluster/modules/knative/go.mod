module mlflow-kserve/tests/cluster/knative

go 1.25.0

tool knative.dev/serving/cmd/controller

tool knative.dev/serving/cmd/webhook

tool knative.dev/serving/cmd/autoscaler

tool knative.dev/serving/cmd/activator

tool knative.dev/serving/cmd/queue

require knative.dev/serving v0.48.1
