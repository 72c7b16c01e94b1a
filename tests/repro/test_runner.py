"""Claims side by side give what they give one by one."""

from saccade.repro.runner import run, run_all


def test_jobs_change_nothing_but_the_order():
    found = {record.id: record for record in run_all([132, 346], quick=True, jobs=2)}
    assert set(found) == {132, 346}
    alone = run(132, quick=True)
    assert (found[132].effect, found[132].interval, found[132].code) == (alone.effect, alone.interval, alone.code)
