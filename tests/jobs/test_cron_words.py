"""Cron expressions in words, which are what the schedule does."""

from __future__ import annotations

import pytest

from bulk_reset.jobs.job_files.cron_words import cron_words

WORDS = {
    # Steps that do not divide the hour, the day or the year
    "*/90 * * * *": "At the start of every hour",
    "*/40 * * * *": "At minutes 0 and 40 of every hour",
    "*/7 * * * *": "Every seventh minute from 0 through 56 of every hour",
    "*/15 * * * *": "Every 15th minute of every hour",
    "*/1 * * * *": "Every minute",
    "7/20 * * * *": "Every 20th minute from 7 through 47 of every hour",
    "59/5 * * * *": "At minute 59 of every hour",
    "*/30,5 * * * *": "At minutes 0, 5, and 30 of every hour",
    "0 */5 * * *": "At minute 0 past every fifth hour from 0 through 20",
    "0 */6 * * *": "At minute 0 past every sixth hour",
    "0 */24 * * *": "At 00:00 every day",
    "0 9-17/4 * * *": "At minute 0 past every fourth hour from 9 through 17",
    "*/15 9-17 * * *": "Every 15th minute from 09:00 through 17:59",
    "0 0 1 */3 *": "At 00:00 on the first day of every third month",
    "0 0 1 */5 *": "At 00:00 on the first day of every fifth month from January through November",
    "0 0 */10 * *": "At 00:00 on every 10th day of month from 1 through 31",
    "0 7 * * */2": "At 07:00 on Sunday, Tuesday, Thursday, and Saturday",
    # All values, however they are written
    "0-59 2 * * *": "Every minute from 02:00 through 02:59",
    "0 0-23 * * *": "At the start of every hour",
    "0 0 1 1-12 *": "At 00:00 on the first day of every month",
    "*,5 * * * *": "Every minute",
    "0 2 * * 1-7": "At 02:00 every day",
    # A day of the month or of the week: either, and each day is one of them
    "0 2 1-31 * 1": "At 02:00 every day",
    "0 7 1 * 0-6": "At 07:00 every day",
    "0 2 1 * mon": "At 02:00 on the first day of month and on Monday",
    # Both, where one begins with a star
    "0 7 */2 * mon": "At 07:00 on every second day of month from 1 through 31 if it's on Monday",
    "0 7 13 * */5": "At 07:00 on the 13th day of month if it's on Sunday and Friday",
    "0 2 */40 * 1": "At 02:00 on the first day of month if it's on Monday",
    "0 2 */1 * 1": "At 02:00 on Monday",
    # What cronsim describes correctly stays
    "* * * * *": "Every minute",
    "30 2 * * *": "At 02:30 every day",
    "0 2 * * mon-fri": "At 02:00 on Monday through Friday",
    "0 2 * * 7": "At 02:00 on Sunday",
    "0 7 1,15 * *": "At 07:00 on the first and the 15th day of month",
    "0 7 L * *": "At 07:00 on the last day of every month",
    "0 7 LW * *": "At 07:00 on the last weekday of every month",
    "0 7 * * 5L": "At 07:00 on the last Friday of the month",
    "0 7 * * mon#2": "At 07:00 on the second Monday of the month",
    "0 2 29 feb *": "At 02:00 on February 29",
}


@pytest.mark.parametrize("cron", WORDS)
def test_an_expression_is_described_by_the_times_it_stands_for(cron: str) -> None:
    """A reader of ``job check`` approves what will happen."""
    assert cron_words(cron) == WORDS[cron]
