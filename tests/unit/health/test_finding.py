import threading

from tasks.health.finding import Check, Finding, run_checks

NOTE = Finding("a", "note", "fine")


def broken() -> list[Finding]:
    raise ValueError("no such table\nat line 3")


def test_findings_come_in_the_order_of_their_checks():
    checks = [Check("a", lambda: [NOTE]), Check("b", lambda: []), Check("c", lambda: [NOTE, NOTE])]
    assert run_checks(checks, timeout_seconds=60) == [NOTE] * 3


def test_a_check_that_fails_is_a_finding_and_the_others_go_on():
    failed, other = run_checks([Check("b", broken), Check("a", lambda: [NOTE])], timeout_seconds=60)
    assert (failed.check, failed.severity) == ("b", "error")
    assert failed.words == "The check could not be made: no such table"
    assert other == NOTE


def test_a_check_that_hangs_is_a_finding_and_is_left_behind():
    over = threading.Event()

    def hangs() -> list[Finding]:
        over.wait()
        return []

    late, other = run_checks([Check("b", hangs), Check("a", lambda: [NOTE])], timeout_seconds=0.2)
    over.set()
    assert late.words.startswith("The check did not end within 0.2 s")
    assert other == NOTE


def test_a_password_in_an_address_is_never_told():
    told = Finding("b", "note", "http://ana:hush@mlflow:5000/api answered")

    def refuses() -> list[Finding]:
        raise OSError("http://ana:hush@mlflow:5000 refused")

    found = run_checks([Check("a", lambda: [told]), Check("b", refuses)], timeout_seconds=60)
    assert [one.words.count("://…@mlflow:5000") for one in found] == [1, 1]
    assert "hush" not in "".join(one.words for one in found)
