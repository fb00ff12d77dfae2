"""A job as a Kubernetes CronJob, against the published schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.schedule.kubernetes_job import kubernetes_manifests, kubernetes_preparation

KEY = 'app_key_file = "/etc/bulk-reset/key"'
OLDEST, NEWEST = "1.29", "1.34"
"""Before 1.29, the published schemas wrongly require both conditions of a podFailurePolicy."""
SAMPLE = Path(__file__).parents[2] / "samples" / "kubernetes" / "schedule.yaml"


def job(folder: Path, api: str = KEY, name: str = "nightly", **schedule: str) -> Job:
    """Return a job that is due every night."""
    given = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", **schedule}
    lines = [f'{key} = "{value}"' for key, value in given.items()]
    file = folder / f"{name}.toml"
    file.write_text("\n".join(['[source]\nsheet = "in.csv"\n[api]', api, "[schedule]", *lines]))
    return read_job(file)


def manifests(of: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the volume and the CronJob."""
    volume, cron_job = yaml.safe_load_all(kubernetes_manifests(of, "registry.test/bulk-reset:1"))
    return volume, cron_job


def require_valid(manifest: dict[str, Any], version: str) -> None:
    """Fail if a manifest has an unknown or a wrong key."""
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("api", [KEY, 'app_key_file = "key"', "sandbox = true"])
def test_manifests_are_valid_by_the_published_schemas(
    version: str, api: str, tmp_path: Path
) -> None:
    """With a key file anywhere, and without a key."""
    for manifest in manifests(job(tmp_path, api)):
        require_valid(manifest, version)


def test_a_wrong_key_is_found(tmp_path: Path) -> None:
    """The schemas refuse what Kubernetes does not know."""
    _, cron_job = manifests(job(tmp_path))
    cron_job["spec"]["concurencyPolicy"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError, match="concurencyPolicy"):
        require_valid(cron_job, NEWEST)


def test_a_pod_has_no_rights_that_a_run_does_not_need(tmp_path: Path) -> None:
    """No root, no writable root, no token; the key is a file that only its group can read."""
    volume, cron_job = manifests(job(tmp_path, api='app_key_file = "keys/flash"'))
    spec = cron_job["spec"]
    work = spec["jobTemplate"]["spec"]
    pod = work["template"]["spec"]
    [container] = pod["containers"]
    assert volume["metadata"] == cron_job["metadata"] == {"name": "bulk-reset-nightly"}
    assert {key: spec[key] for key in spec if key != "jobTemplate"} == {
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 43_200,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
    }
    assert (work["podFailurePolicy"]["rules"][0], pod["restartPolicy"]) == (
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "run", "operator": "In", "values": [1, 2]},
        },
        "Never",
    )
    assert container["command"] + container["args"] == [
        *("bulk-reset", "job", "run", "/data/nightly.toml"),
        *("--if-due", "--resume", "--state-dir", "/data/state"),
    ]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["volumes"][-1]["secret"]["defaultMode"] == 0o440
    assert {one["mountPath"]: one.get("subPath") for one in container["volumeMounts"]} == {
        "/data": None,
        "/tmp": None,  # noqa: S108
        "/data/nightly.toml": "nightly.toml",
        "/data/keys/flash": "flash",
    }


def test_what_manifests_refer_to_is_created_by_printed_commands(tmp_path: Path) -> None:
    """The key is never printed, nor its place on this machine."""
    told = job(tmp_path)
    assert kubernetes_preparation(told) == [
        [
            *("kubectl", "create", "configmap", "bulk-reset-nightly"),
            f"--from-file=nightly.toml={told.path}",
        ],
        [
            *("kubectl", "create", "secret", "generic", "bulk-reset-nightly"),
            "--from-file=key=FILE_WITH_THE_KEY",
        ],
    ]


def test_names_are_valid_and_differ(tmp_path: Path) -> None:
    """Kubernetes allows small letters, digits and hyphens, and 52 of them."""
    names = ["a.b", "a_b", "A-b", "x" * 60, "x" * 61]
    found = [manifests(job(tmp_path, name=one))[1]["metadata"]["name"] for one in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,50}[a-z0-9]", one) for one in found)


@pytest.mark.parametrize("cron", ["0 2 L * *", "0 2 * * 1#2", "0 2 * * 5L"])
def test_an_expression_that_kubernetes_does_not_know_is_refused(cron: str, tmp_path: Path) -> None:
    """Its own parser is not asked: the job would never run."""
    with pytest.raises(InputError, match="Kubernetes does not support"):
        kubernetes_manifests(job(tmp_path, cron=cron), "image")


def test_names_of_months_and_days_are_allowed(tmp_path: Path) -> None:
    """JUL and WED have letters that alone mean something else."""
    _, cron_job = manifests(job(tmp_path, cron="0 2 * jul wed", catch_up="skip"))
    spec = cron_job["spec"]
    assert (spec["schedule"], spec["startingDeadlineSeconds"]) == ("0 2 * jul wed", 90)


def test_a_job_without_a_key_file_or_a_schedule_is_refused(tmp_path: Path) -> None:
    """A key in the environment can be read by too many."""
    with pytest.raises(InputError, match=r"api.app_key_file: missing"):
        kubernetes_manifests(job(tmp_path, api=""), "image")
    file = tmp_path / "none.toml"
    file.write_text('[source]\nsheet = "in.csv"\n')
    with pytest.raises(InputError, match=r"no \[schedule\]"):
        kubernetes_manifests(read_job(file), "image")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_sample_of_a_schedule_is_valid(version: str) -> None:
    """A Deployment with probes, for a folder of jobs."""
    for manifest in yaml.safe_load_all(SAMPLE.read_text("utf-8")):
        require_valid(manifest, version)
