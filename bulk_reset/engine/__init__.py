"""The engine: changes in, outcomes out, within the quota and with retries.

The way of a row, each step a value in and a value out:
    work_source        row of the sheet -> ``Change`` to send, or ``Outcome`` to record
    read_ahead         reads the incidents of the next rows while rows are sent
    current_values     ``Change`` -> what is left to send, or ``Outcome`` (no change, conflict)
    worker_pool        ``Change`` -> ``Outcome``: ``row_sender`` its requests, ``attempts`` one try
    outcome_recorder   ``Outcome`` -> line of the report, counts
``run_sender`` connects them for a run of a sheet: work source in, ``SendResult`` out.

State: everything of a run while it sends; it belongs to the run's event loop. May be imported
by reports, workflows and everything above them.

Public surface besides:
    options            ``Options`` and its groups; option_group, approval_options
    connection         ``connect``, ``lock_account``: the account or sandbox of a command
    account            the account's permits: their store, and who uses them
    incident_reader    reads incidents for plan, verify and pull
    event_loop         ``in_new_loop``: from plain code into asyncio, with Ctrl-C
Rules that these follow:
    comparison         is a row's current value what the pull saw, what it sets, or a conflict
    retry_policy       how often a request is tried, and how long it waits (429 and Retry-After too)
    circuit_breaker    when an outage begins, is probed, and ends the run (patience)
    readback           was a request without an answer applied
    comment_sender     adds a comment once; timeline: the comments that an incident has
    store_watch        notices about the store of the permits; it ends the run after the patience
    comment_groups     rows that share a request; group_sender: sends it, halves it on an error
    row_outcomes       what an answer means for its row; doubtful_requests: after a stop
    stop_signals       Ctrl-C, SIGTERM and SIGHUP end a run gracefully
"""
