"""A job as a Kubernetes CronJob, with a volume for its state.

A pod starts at each due time and calls ``job run --if-due --resume``: a due time that a pod has
run is not run again, and a pod that replaces another resumes its run. Exit codes 1 and 2 end the
Job, because another attempt has the same result; after any other, Kubernetes starts another pod.

Source of the settings: the API reference of ``batch/v1`` CronJob; cron expressions are those of
robfig/cron, which knows neither ``L`` nor ``#``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_schema import ScheduleTable
from bulk_reset.jobs.job_files.job_value_types import seconds_of
from bulk_reset.jobs.schedule.timetable import ON_TIME_S

_DATA: Final = PurePosixPath("/data")
"""The volume: sheets, which a job file names relative to itself, and the state."""
_USER: Final = 10001
_STOP_S: Final = 30
"""A run ends within 20 s of SIGTERM."""
_FINAL_CODES: Final = (1, 2)
_MOST_NAME: Final = 52
"""Kubernetes appends 11 characters to the name of a CronJob, and 63 are allowed."""


def kubernetes_manifests(job: Job, image: str) -> str:
    """Return the manifests of a job, as YAML.

    Raises:
        InputError: it has no schedule, no file for the key, or a cron expression that Kubernetes
            does not support.
    """
    schedule = _schedule_of(job)
    name = _name_of(job)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": " ".join(schedule.cron.split()),
            "timeZone": schedule.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _starting_deadline_s(schedule),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": _job_spec(job, name, image)},
        },
    }
    return yaml.safe_dump_all([volume, cron_job], sort_keys=False, allow_unicode=True)


def kubernetes_preparation(job: Job) -> list[list[str]]:
    """Return the commands that create what the manifests refer to."""
    name = _name_of(job)
    file = f"--from-file={job.path.name}={job.path}"
    commands = [["kubectl", "create", "configmap", name, file]]
    if key := _key_path(job):
        secret = f"--from-file={key.name}=FILE_WITH_THE_KEY"
        commands.append(["kubectl", "create", "secret", "generic", name, secret])
    return commands


def _schedule_of(job: Job) -> ScheduleTable:
    if job.schedule is None:
        raise InputError(
            f"{job.path}: no [schedule], so there is nothing to install. Add this table."
        )
    if re.search(r"[LlWw#]", re.sub(r"(?i)\b(jul|wed)\b", "", job.schedule.cron)):
        raise InputError(
            f"{job.path}: schedule.cron: Kubernetes does not support {job.schedule.cron!r}. Use "
            "the command schedule in a Deployment."
        )
    return job.schedule


def _starting_deadline_s(schedule: ScheduleTable) -> int:
    if schedule.catch_up == "skip":
        return int(ON_TIME_S)
    return max(int(ON_TIME_S), int(seconds_of(schedule.catch_up_within)))


def _job_spec(job: Job, name: str, image: str) -> dict[str, Any]:
    refused = {"containerName": "run", "operator": "In", "values": list(_FINAL_CODES)}
    evicted = {"type": "DisruptionTarget", "status": "True"}
    return {
        "backoffLimit": 6,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": refused},
                {"action": "Ignore", "onPodConditions": [evicted]},
            ]
        },
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": _STOP_S,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": _USER,
                    "runAsGroup": _USER,
                    "fsGroup": _USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [_container(job, image)],
                "volumes": _volumes(job, name),
            }
        },
    }


def _container(job: Job, image: str) -> dict[str, Any]:
    file = str(_DATA / job.path.name)
    mounts: list[dict[str, Any]] = [
        {"name": "data", "mountPath": str(_DATA)},
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108  (in the pod)
        {"name": "job", "mountPath": file, "subPath": job.path.name, "readOnly": True},
    ]
    if key := _key_path(job):
        path = str(_DATA / key)
        mounts.append({"name": "key", "mountPath": path, "subPath": key.name, "readOnly": True})
    state = str(_DATA / "state")
    return {
        "name": "run",
        "image": image,
        "command": ["bulk-reset", "job", "run", file],
        "args": ["--if-due", "--resume", "--state-dir", state],
        "env": [{"name": "XDG_STATE_HOME", "value": state}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _volumes(job: Job, name: str) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": name}},
        {"name": "temporary", "emptyDir": {}},
        {"name": "job", "configMap": {"name": name}},
    ]
    if _key_path(job):
        # Readable by the group of the pod alone, which is its fsGroup.
        volumes.append({"name": "key", "secret": {"secretName": name, "defaultMode": 0o440}})
    return volumes


def _key_path(job: Job) -> PurePosixPath | None:
    """Return where the job expects its key; None for the sandbox, which needs none.

    Raises:
        InputError: the job file does not name a file.
    """
    if job.api.sandbox or job.api.sandbox_state:
        return None
    file = job.api.access_token_file or job.api.app_key_file
    if not file:
        raise InputError(
            f"{job.path}: api.app_key_file: missing; in a pod, the key is in a file. Add "
            'app_key_file = "/etc/bulk-reset/key".'
        )
    return PurePosixPath(file)


def _name_of(job: Job) -> str:
    """Return the name of the job's objects: small letters, digits and hyphens."""
    name = "bulk-reset-" + re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")
    if name == f"bulk-reset-{job.name}" and len(name) <= _MOST_NAME:
        return name
    # Two jobs whose names differ only in what was replaced keep different names.
    digest = hashlib.blake2b(job.name.encode(), digest_size=4).hexdigest()
    return f"{name[: _MOST_NAME - len(digest) - 1].rstrip('-')}-{digest}"
