# Everything lives in .venv; each target sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS := constraints.txt
# Tests that start no processes and wait for no deadlines: the others are not measured, and tracing doubles the CPU time.
COVERED := tests/generator tests/monitoring/test_rules.py tests/monitoring/test_cli.py \
	$(addprefix tests/predictors/,protocol signature model engines safety pipeline access drift rest/test_pages.py test_uris.py)
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS)

.PHONY: demo demo-feast test coverage lint bench costs attack overload format constraints manifests dashboards monitoring-demo images images-test image-locks charts helm cluster cluster-down cluster-demo cluster-test clean

demo: .venv/demo ## serve the embedded demo model on port 8080
	@$(BIN)/python -m predictors.mlflow

demo-feast: .venv/test ## a Feast repository and a model that looks its features up, on port 8080; SERVER=1 asks Feast's feature server
	@$(BIN)/python -m tools.demo_feast $(if $(SERVER),--server)

test: .venv/test ## run all tests
	$(BIN)/pytest -n 3 --durations=10

coverage: .venv/test ## what the tests that start no processes cover; fails below the floor in pyproject.toml
	$(BIN)/pytest -n 2 -q --cov --cov-report=term $(COVERED)

lint: .venv/test .venv/lint ## style, types (also of the tests, with what they import) and the contracts between the folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint predictors/images/Dockerfile charts/Dockerfile

bench: .venv/test ## side by side with other servers; QUICK=1 for a short run within five minutes; AGAINST=FOLDER compares two checkouts
	$(BIN)/python -m loadtest.peers $(if $(QUICK),--quick) $(if $(AGAINST),--against $(AGAINST))

costs: .venv/test ## what drift, the prediction log and features cost, side by side
	$(BIN)/python -m tools.costs

attack: .venv/test ## attack a server for minutes and write docs/attacks.md: what others saw of it meanwhile, and its memory
	ATTACK_SECONDS=10 ATTACK_CLIENTS=30 ATTACK_MUTATIONS=5000 ATTACK_FLIPS=50 $(BIN)/pytest tests/attack --write-docs

overload: .venv/test ## a server at five times its capacity; QUICK=1 for a short run within a minute
	$(BIN)/python -m loadtest.overload $(if $(QUICK),--quick)

format: .venv/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: ## write the versions that a fresh environment resolves to
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip --disable-pip-version-check install --quiet uv
	.venv-constraints/bin/uv pip install --quiet --python .venv-constraints/bin/python '.[test,lint]'
	.venv-constraints/bin/pip freeze --exclude mlflow-kserve | sed 's/+cpu$$//' > $(CONSTRAINTS)
	rm -rf .venv-constraints

monitoring-demo: .venv/test ## servers, traffic and Prometheus together (and Grafana, if it is installed); SECONDS=60 ends it
	$(BIN)/python -m tools.monitoring.demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PICTURES),--pictures $(PICTURES))

dashboards: .venv/test ## write monitoring/dashboards/ from the dashboards as code
	$(BIN)/python -m tools.dashboards

manifests: .venv/test ## write kserve/ from the generator
	$(BIN)/python -m tools.kserve_folder

images: .venv/demo ## build the images; FLAVOR=sklearn REGISTRY=… TAG=… BASE=… PYTHON_VERSION=3.12; SIZES=1 writes sizes to docs/images.md
	$(BIN)/python -m tools.images $(if $(FLAVOR),--flavor $(FLAVOR)) $(if $(REGISTRY),--registry $(REGISTRY)) \
		$(if $(TAG),--tag $(TAG)) $(if $(BASE),--base $(BASE)) $(if $(PYTHON_VERSION),--python $(PYTHON_VERSION)) \
		$(if $(SIZES),--write-sizes)

images-test: .venv/test ## build images, run them and compare their numbers with MLflow's; FLAVOR=sklearn BASE=…
	$(BIN)/python -m pytest tests/images --timeout 1800 $(if $(FLAVOR),--flavors $(FLAVOR)) $(if $(BASE),--base $(BASE))

charts: .venv/test ## write the templates of charts/serve from the generator
	$(BIN)/python -m tools.serve_chart

helm: .venv/test ## build Helm, with which the charts are tested, if it is not on PATH; needs Go
	$(BIN)/python -m tests.charts.helm

image-locks: .venv/test ## write the versions and hashes that images are built with
	$(BIN)/python -m tools.image_locks

cluster: .venv/test ## a real Kubernetes with KServe in namespaces of its own, left running; root and Go; PARTS="kserve" for less
	@$(BIN)/python -m tests.cluster up $(PARTS)

cluster-down: .venv/test ## end that cluster; what was built stays
	@$(BIN)/python -m tests.cluster down

cluster-demo: .venv/test ## a serve on that cluster, callers, a canary that is promoted and one that is taken back, step by step
	@$(BIN)/python -m tests.cluster.demo

cluster-test: .venv/test ## tests on that cluster, or on yours: KUBECONFIG=… CLUSTER=yours REGISTRY=… GATEWAY=… MLFLOW_TRACKING_URI=…
	$(BIN)/python -m pytest tests/cluster --timeout 1800

clean:
	rm -rf .venv

.venv/python: # with pip, which models' environments and images are built with; uv does the rest, in a tenth of the time
	$(PYTHON) -m venv .venv
	$(BIN)/pip --disable-pip-version-check install --quiet -c $(CONSTRAINTS) uv
	touch $@

# Each mark is newer than what it was made from, so a change of the dependencies installs them again.
.venv/demo: .venv/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) -e '.[sklearn]'
	touch $@

.venv/test: .venv/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) -e '.[test]'
	touch $@

.venv/lint: .venv/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) -e '.[lint]'
	touch $@
