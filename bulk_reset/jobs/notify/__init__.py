"""Notifications: a command, a webhook or a ping when a run starts or ends.

State: none. Part of ``jobs``.

Public surface:
    notifications    what is sent, and when
    notify_payload   the content, as the job's template has it
    notify_command, notify_webhook    how it is sent; notify_limit: how long that may take
"""
