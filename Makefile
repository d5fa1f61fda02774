# lab: a fleet on this machine, and the proof that it works.  test: all that CI runs.  bench: what a run costs, against the bare commands.
# Each target sets itself up from a fresh clone on Debian or Ubuntu, as root. What was fetched or built is kept under the user's cache.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/runnerfleet
# One that the newest ansible-core runs on, where the machine has one.
PYTHON := $(or $(shell python3 -m lab.cores),python3)
VENV := $(CACHE)/venv-$(shell (cat requirements.txt requirements-dev.txt; echo $(PYTHON)) | sha256sum | cut -c1-12)
COLLECTION := .ansible/collections/ansible_collections/runnerfleet/baremetal

# The lab keeps a newer Go there where the machine's own is too old.
export PATH := $(CURDIR)/.venv/bin:$(CACHE)/go/current/bin:$(PATH)

.PHONY: lab lab-down lab-nvme lab-nvme-down lint unit test test-fast test-cores test-nvme test-engine test-runner-faults test-engine-facts soak bench bench-runners pins docs venv setup setup-nvme clean

lab: setup venv
	python -m lab up
	ansible-playbook -i inventories/lab playbooks/site.yml
	python -m lab prove

lab-down:
	/usr/bin/env python3 -m lab down

# One virtual machine with NVMe drives, and the storage play on it.
lab-nvme: setup-nvme venv
	python -m lab.machines.vms up
	ansible-playbook -i inventories/lab-nvme playbooks/storage.yml
	python -m lab.machines.vms ssh nvme-1 'lsblk -o NAME,SIZE,TYPE,SERIAL,FSTYPE,MOUNTPOINTS; findmnt --real'

lab-nvme-down:
	/usr/bin/env python3 -m lab.machines.vms down

test: setup venv
	python tests/run.py

# Without root and without a fleet. shellcheck comes from the system.
lint: venv
	python tests/run.py ruff ruff-format mypy yamllint shellcheck changelog ansible-lint docs

unit: venv
	python tests/run.py unit

test-fast: venv
	python tests/run.py --without-fleet

# Unit tests, sanity and refusals on each ansible-core that this machine has a Python for; it says which were not run.
# Other stages of tests/run.py with STAGES="unit default".
test-cores: venv
	python tests/cores.py $(STAGES)

# The storage role on real NVMe controllers in virtual machines, reboots, power cuts; and drives of a fleet that are replaced under load.
test-nvme: setup setup-nvme venv
	python tests/run.py nvme_vm vm replace_drive

# Engines through a roll-out under load, and through what happens to machines: restarts, a power cut, a full disk.
test-engine: setup venv
	python tests/run.py engine_faults

# Runners that follow the queue, under load, while pods, a node and GitHub break; then one controller in the other's place.
# RUNNER_FAULTS_JOBS=20 RUNNER_FAULTS_SECONDS=30 make it shorter than its 200 jobs and 5 minutes.
test-runner-faults: setup venv
	python tests/run.py runner_faults

# Roll-outs and SIGKILL of engines while jobs run, again and again, on the fleet that `make lab` has left.
soak: setup venv
	python -m lab.proof.rollouts --rolls 20
	python -m lab.proof.kills --kills 20

# What the lab's engine copies of the real one, a test a fact. ENGINE_IMAGE=... or ENGINE_SOCKET=... holds another engine against them.
test-engine-facts: setup venv
	pytest -v tests/facts

bench: setup setup-nvme venv
	python -m lab.bench.site

# How long jobs wait for runners that follow the queue, and what an idle fleet asks of GitHub: some 25 minutes.
bench-runners: setup venv
	python -m lab.bench.runners

# Every pin beside the newest version that can be asked for; `make pins STRICT=--strict` fails where a patch is newer or nobody answered.
pins: venv
	PYTHONPATH=.ansible/collections python -m lab.pins $(STRICT)

# docs/playbook-variables.md, of the argument specs of playbooks and roles; the items in docs/cis.md.
docs: venv
	PYTHONPATH=.ansible/collections python -m lab.docs

# System packages, with apt-get.
setup:
	python3 -m lab setup

setup-nvme:
	python3 -m lab.machines.vms setup

# The environment is named after what goes into it, so that every clone shares it. The checkout is linked to where Ansible looks for collections.
venv: $(VENV)/.compiled
	@test -d .venv -a ! -L .venv || ln -sfn $(VENV) .venv
	@mkdir -p $(dir $(COLLECTION))
	@ln -sfn ../../../.. $(COLLECTION)

# Compiled by itself, since an environment may forbid Python to write what it compiled: the Kubernetes client would then be compiled in each task
# that speaks to the API, 2 s instead of half a second. Ansible compiles collections itself.
$(VENV)/.compiled:
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	@$(VENV)/bin/python -m compileall -q -j 0 -x ansible_collections $(VENV)/lib
	@touch $@

clean:
	rm -rf .ansible .cache .venv .mypy_cache .pytest_cache .ruff_cache tests/output
