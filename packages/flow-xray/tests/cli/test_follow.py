"""The page that follows a journal: on this machine only, and up to date."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from flow_xray import TraceFormatError, trace
from flow_xray._cli.follow import Follower, server_of
from flow_xray._cli.main import main


@contextmanager
def serving(*paths):
    with server_of(Follower([str(path) for path in paths]), "secret") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def get(port, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer, content


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "run.xray"


def test_the_page_and_its_state_follow_the_journal(journal):
    with trace.capture(name="live", journal=journal):
        with trace.span("one"):
            pass
        with serving(journal) as port:
            _, page = get(port, "/secret/")
            first = json.loads(get(port, "/secret/state")[1])
            assert first["version"] == re.search(r'<script data-version="([^"]+)">', page)[1]
            assert first["is_finished"] is False
            with trace.span("two"):
                pass
            second = json.loads(get(port, "/secret/state")[1])
            assert second["version"] != first["version"]
            _, page = get(port, "/secret/")
            assert second["version"] in page


def test_the_policy_of_the_page_allows_this_one_script_and_this_server(journal):
    with trace.capture(journal=journal):
        pass
    _, page = get_page(journal)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.count("sha256-") == 3
    assert "connect-src 'self'" in policy
    assert "default-src 'none'" in policy


def get_page(journal):
    with serving(journal) as port:
        return get(port, "/secret/")


def test_a_closed_journal_is_finished_and_one_whose_process_is_gone_is_interrupted(journal):
    with trace.capture(journal=journal), trace.span("open"):
        content = journal.read_bytes()
    follower = Follower([str(journal)])
    follower.page()
    state = follower.state()
    assert (state["is_finished"], state["ending"]) == (True, "finished")
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    journal.write_bytes(content)
    follower.page()
    running = follower.state()
    journal.write_bytes(re.sub(rb'"pid":\d+', b'"pid":%0*d' % (len(str(os.getpid())), child.pid), content))
    state = follower.state()
    assert (running["is_finished"], state["is_finished"]) == (False, True)
    assert state["ending"] == "interrupted: its process is gone"
    assert state["version"] != running["version"]  # the page no longer shows it as running
    follower.page()
    assert follower.state()["version"] == state["version"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example"])
def test_another_host_is_refused(journal, host):
    with trace.capture(journal=journal):
        pass
    with serving(journal) as port:
        answer, content = get(port, "/secret/", host)
    assert (answer.status, "flow-xray" in content) == (421, False)


@pytest.mark.parametrize("path", ["/", "/secret", "/wrong/", "/secret/x", "/../etc/passwd"])
def test_a_wrong_token_has_no_page(journal, path):
    with trace.capture(journal=journal):
        pass
    with serving(journal) as port:
        assert get(port, path)[0].status == 404


def test_responses_are_not_cached_and_not_framed(journal):
    with trace.capture(journal=journal):
        pass
    answer, _ = get_page(journal)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_a_file_that_breaks_later_is_an_error_response(journal):
    with trace.capture(journal=journal):
        pass
    with serving(journal) as port:
        get(port, "/secret/")
        journal.write_bytes(b"nonsense")
        answer, content = get(port, "/secret/")
        assert (answer.status, "its format is unknown" in content) == (500, True)
        journal.unlink()
        assert get(port, "/secret/")[0].status == 500
        assert json.loads(get(port, "/secret/state")[1])["is_finished"] is True


def test_an_unreadable_file_is_an_error_before_anything_is_served(journal, capsys):
    journal.write_bytes(b"nonsense")
    with pytest.raises(TraceFormatError):
        Follower([str(journal)]).page()
    assert main(["view", "--follow", str(journal)]) == 8
    assert main(["view", "--follow", str(journal), "--html", "x.html"]) == 2
    assert main(["view", "--follow", str(journal) + "none"]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_the_command_prints_the_address_and_ends_with_130_without_a_traceback(journal):
    with trace.capture(journal=journal):
        pass
    command = [sys.executable, "-m", "flow_xray", "view", "--follow", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = json.loads(process.stdout.readline())["url"]
        port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/[0-9a-f]{24}/)", url).groups()
        assert get(int(port), path)[0].status == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
