# Run `make` for a list of what it does.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# PYTHON and OLDEST_PYTHON name interpreters; without them the first that works is taken from PATH.
PYTHON ?=
OLDEST_PYTHON ?=
JOBS ?= 2

VENV := .venv
OLDEST := .venv-oldest
AWS_CLI := .venv-aws-cli
RELEASE := .venv-release
LINKED := .ansible/collections/ansible_collections/cwagent/iam
MOLECULE_STATE := $(CURDIR)/.cache/molecule

# Recipes see nothing of a developer's own AWS account, Ansible settings or proxy, not even the account of the
# EC2 instance they may work on. The environment's programs come first on PATH, where Ansible looks for a Python.
FOREIGN := AWS_% EC2_% BOTO_% ANSIBLE_% MOLECULE_% PYTHON% http_proxy https_proxy all_proxy no_proxy \
	HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
CLEAN := env $(addprefix -u ,$(filter $(FOREIGN),$(.VARIABLES))) AWS_CONFIG_FILE=/dev/null \
	AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:9
# $(call run,COMMAND) shows the command and runs it.
run = @echo '$$ $(1)'; $(CLEAN) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(1)
# The emulators need newer packages than the oldest ones, so there they run on their own Python.
run_oldest = @echo '$$ $(1)'; $(CLEAN) EMULATOR_PYTHON="$(CURDIR)/$(VENV)/bin/python" \
	PATH="$(CURDIR)/$(OLDEST)/bin:$$PATH" $(1)
run_release = @echo '$$ $(1)'; $(CLEAN) PATH="$(CURDIR)/$(RELEASE)/bin:$$PATH" $(1)

# Made anew when the lock file changes, or when the interpreter is gone.
READY := $(VENV)/ready
OLDEST_READY := $(OLDEST)/ready
AWS_CLI_READY := $(AWS_CLI)/ready
RELEASE_READY := $(RELEASE)/ready
$(if $(shell test -x $(VENV)/bin/python && echo yes),,$(eval $(READY): again))
$(if $(shell test -x $(OLDEST)/bin/python && echo yes),,$(eval $(OLDEST_READY): again))
$(if $(shell test -x $(AWS_CLI)/bin/python && echo yes),,$(eval $(AWS_CLI_READY): again))
$(if $(shell test -x $(RELEASE)/bin/python && echo yes),,$(eval $(RELEASE_READY): again))

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## make the environment in .venv (the other targets do so themselves)

.PHONY: demo
demo: $(READY) ## show the collection at work, against an emulator of AWS
	$(call run,env PYTHONPATH=tests python examples/demo/demo.py)

.PHONY: test
test: ## run every check and every test
	@$(MAKE) lint
	@$(MAKE) unit
	@$(MAKE) integration
	@$(MAKE) molecule
	@$(MAKE) faults TRIALS=1
	@$(MAKE) sanity
	@$(MAKE) installed
	@$(MAKE) oldest
	@$(MAKE) importer
	@$(MAKE) environment
	@$(MAKE) docs

.PHONY: lint
lint: lint-python lint-yaml lint-docs ## check style, types, documentation and change notes

.PHONY: lint-python
lint-python: $(READY) ## the part of lint for Python
	$(call run,ruff check)
	$(call run,ruff format --check)
	$(call run,mypy $(LINKED)/plugins)

.PHONY: lint-yaml
lint-yaml: $(READY) ## the part of lint for playbooks, roles and other YAML
	$(call run,ansible-lint)

.PHONY: lint-docs
lint-docs: $(READY) ## the part of lint for documentation and change notes
	$(call run,antsibull-changelog lint)
	@# It copies what git knows of a folder, which is nothing of the amazon.aws in $(VENV): hide git from there.
	$(call run,env GIT_CEILING_DIRECTORIES="$(CURDIR)" antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .)

.PHONY: unit
unit: $(READY) ## run the unit tests
	$(call run,pytest -n $(JOBS) tests/unit)

.PHONY: integration
integration: $(READY) $(AWS_CLI_READY) ## run the tests against emulators of AWS
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" pytest -n $(JOBS) tests/integration)

.PHONY: faults
faults: $(READY) ## break the main job at every AWS call, in every way, and see that one more run mends it (hours)
	$(call run,env PYTHONPATH=tests python -m faults --workers $(JOBS) $(if $(TRIALS),--trials $(TRIALS)))

.PHONY: bench
bench: $(READY) ## measure against amazon.aws and bare boto3 (20 minutes; BENCH="--help" lists options)
	$(call run,env PYTHONPATH=tests python -m benchmarks $(BENCH))

.PHONY: molecule
molecule: $(READY) ## run the scenarios of the roles and playbooks (SCENARIO=ec2_server runs one)
	@if [ -f $(MOLECULE_STATE)/emulator.json ]; then $(MAKE) molecule-destroy; fi # a run that was killed
	$(call run,env MOLECULE_EPHEMERAL_DIRECTORY="$(MOLECULE_STATE)" molecule test $(if $(SCENARIO),-s $(SCENARIO),--all))

.PHONY: molecule-destroy
molecule-destroy: $(READY) ## stop the emulators that a molecule run left running
	$(call run,env MOLECULE_EPHEMERAL_DIRECTORY="$(MOLECULE_STATE)" molecule destroy)

GATES := env PYTHONPATH=tests python -m gates
.PHONY: sanity
sanity: build ## run ansible-test sanity on the tarball
	$(call run,$(GATES) sanity)

.PHONY: installed
installed: build ## run ansible-test units and integration on the installed tarball
	$(call run,$(GATES) units --workers $(JOBS))
	$(call run,$(GATES) integration)

.PHONY: oldest
oldest: build $(OLDEST_READY) ## run ansible-test and the main job with the oldest ansible-core supported
	$(call run_oldest,$(GATES) sanity)
	$(call run_oldest,$(GATES) units --workers $(JOBS))
	$(call run_oldest,$(GATES) integration)
	@# ansible-test has run those of plugins. Of the others, these start programs of Ansible.
	$(call run_oldest,pytest -n $(JOBS) tests/unit/docs tests/unit/examples tests/unit/repository)
	$(call run_oldest,pytest -n $(JOBS) -m main_job tests/integration)

.PHONY: importer
importer: build $(RELEASE_READY) ## check the tarball as Galaxy does
	$(call run_release,$(GATES) importer)

.PHONY: environment
environment: build $(RELEASE_READY) ## check that ansible-builder can put the tarball into an execution environment
	$(call run_release,$(GATES) environment)

SITE := build/docs
.PHONY: docs
docs: $(RELEASE_READY) ## build the documentation as HTML in build/docs/html
	@rm -rf $(SITE) && mkdir -p $(SITE) && mkdir -m 755 $(SITE)/rst && cp -R docs/images $(SITE)/rst
	$(call run_release,antsibull-docs --config-file docs/site/antsibull-docs.cfg collection --use-current --fail-on-error \
		--squash-hierarchy --dest-dir $(SITE)/rst cwagent.iam)
	$(call run_release,sphinx-build -M html $(SITE)/rst $(SITE) -c docs/site --quiet --fail-on-warning --keep-going)

.PHONY: build
build: $(READY) ## build the collection's tarball in build/
	$(call run,ansible-galaxy collection build --force --output-path build)

LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --no-annotate --no-header --generate-hashes
.PHONY: lock
lock: $(READY) ## renew the lock files in requirements/
	$(LOCK) --python-version 3.12 requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) --python-version 3.11 requirements/oldest.in --output-file requirements/oldest.txt
	$(LOCK) --python-version 3.12 requirements/aws-cli.in --output-file requirements/aws-cli.txt
	$(LOCK) --python-version 3.12 requirements/release.in --output-file requirements/release.txt

.PHONY: clean
clean: ## remove the environments and all that is made
	rm -rf $(VENV) $(OLDEST) $(AWS_CLI) $(RELEASE) build .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f changelogs/.plugin-cache.yaml
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt
	@python=$$(requirements/find-python 3.12 3.14 $(PYTHON)) && requirements/make-venv "$$python" $(VENV) $<
	@touch $@

$(OLDEST_READY): requirements/oldest.txt
	@python=$$(requirements/find-python 3.11 3.13 $(OLDEST_PYTHON)) && requirements/make-venv "$$python" $(OLDEST) $<
	@touch $@

$(AWS_CLI_READY): requirements/aws-cli.txt
	@python=$$(requirements/find-python 3.12 3.14 $(PYTHON)) && requirements/make-venv "$$python" $(AWS_CLI) $<
	@touch $@

$(RELEASE_READY): requirements/release.txt
	@python=$$(requirements/find-python 3.12 3.14 $(PYTHON)) && requirements/make-venv "$$python" $(RELEASE) $<
	@touch $@

.PHONY: again
again:
