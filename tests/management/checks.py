"""What the check scripts share: the two nodes, a list of checks with plain names, and small HTTP servers.

The environment: NODES (JSON: provider, consumer). SSL_CERT_FILE and REQUESTS_CA_BUNDLE name the authority of the nodes'
certificates; where they are missing, the authority beside the provider's folder is taken. Import this before the client.
"""
import json
import os
import secrets
import signal
import ssl
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

warnings.simplefilter("ignore")

NODES = json.loads(os.environ["NODES"])
PROVIDER, CONSUMER = NODES
AUTHORITY = Path(PROVIDER["folder"]).parent / "authority" / "authority.pem"
for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
    if AUTHORITY.exists():
        os.environ.setdefault(variable, str(AUTHORITY))

EDC = "https://w3id.org/edc/v0.0.1/ns/"
RUN = secrets.token_hex(3)
LONGEST = int(os.environ.get("CHECK_SECONDS", "60"))


def key(node):
    """The key of a node's management API."""
    return (Path(node["folder"]) / "keys" / "management.key").read_text().strip()


def named(client, word):
    """An id that no other client and no other run uses."""
    return f"{client}-{word}-{RUN}"


def contents(node):
    """The bytes behind a node's `upstream`."""
    with urllib.request.urlopen(node["upstream"]) as answer:
        return answer.read()


def until(look, done, seconds=20.0, pause=0.1):
    """Looks again until `done`; the clients have no events."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if done(found):
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"it did not get there in {seconds:.0f} s; last seen: {brief(found)}")
        time.sleep(pause)


def manage(node, method, path, body=None):
    """A request that a client has no method for: preparations and tidying up. Gives status and JSON."""
    request = urllib.request.Request(
        node["management"].rstrip("/") + path, method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Api-Key": key(node), "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def brief(thing):
    """One short line of anything."""
    text = thing if isinstance(thing, str) else repr(thing)
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:397] + "..."


def reason(error):
    """Why a check failed, in one line: the server's own words where there are any."""
    body = getattr(error, "body", None)
    if body is not None:
        return brief(f"{getattr(error, 'status', '')} {body.decode() if isinstance(body, bytes) else body}")
    response = getattr(error, "response", None)
    if response is not None:
        return brief(f"{response.status_code} {response.text}")
    place = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in place if Path(frame.filename).parent == Path(__file__).parent]
    line = f" ({ours[-1].line})" if ours and isinstance(error, AssertionError) and not str(error) else ""
    return brief(f"{type(error).__name__}: {error}{line}")


class Checks:
    """The checks of one client, in the order in which they are written."""

    def __init__(self, client):
        self.client = client
        self.all = []
        self.left = []
        self.atexit = []
        self.state = {}
        self.answer = None

    def check(self, name):
        """Registers a check under a plain name."""
        def register(function):
            self.all.append((name, function))
            return function
        return register

    def leave_out(self, name, why):
        """Says what is not checked, and why."""
        self.left.append((name, why))

    def finally_(self, function):
        """Tidies up after all checks, whatever became of them."""
        self.atexit.append(function)
        return function

    def saw(self, answer, *_, **__):
        """Keeps the last answer of a `requests` session, for clients that do not tell it."""
        self.answer = answer

    def keep(self, **values):
        """Keeps what later checks need."""
        self.state.update(values)

    def need(self, name):
        """What an earlier check made."""
        if name not in self.state:
            raise RuntimeError(f"nothing has made `{name}`: an earlier check failed")
        return self.state[name]

    def run(self):
        """Runs all, prints a line for each and a count, and ends the program."""
        def late(*_):
            raise TimeoutError(f"it took more than {LONGEST} s")
        signal.signal(signal.SIGALRM, late)
        passed = failed = 0
        wanted = os.environ.get("CHECK", "")
        for name, function in self.all:
            if wanted and wanted not in name:
                continue
            signal.alarm(LONGEST)
            self.answer = None
            try:
                function()
                passed += 1
                print(f"ok: {self.client}: {name}", flush=True)
            except Exception as error:
                failed += 1
                answer = self.answer
                more = f"; the server's last answer was {answer.status_code} {answer.text}" if answer is not None and not answer.ok else ""
                print(f"FAILED: {self.client}: {name}: {reason(error)}{brief(more)}", flush=True)
                if os.environ.get("CHECK_TRACES"):
                    traceback.print_exc()
            finally:
                signal.alarm(0)
        for name, why in self.left:
            print(f"left out: {self.client}: {name}: {why}", flush=True)
        for function in self.atexit:
            try:
                function()
            except Exception as error:
                print(f"tidying up: {self.client}: {reason(error)}", file=sys.stderr)
        print(f"{passed} passed, {failed} failed, {len(self.left)} skipped", flush=True)
        sys.exit(1 if failed else 0)


def refused(error, function, *arguments, **more):
    """Expects an error of this type, and gives it."""
    try:
        found = function(*arguments, **more)
    except error as caught:
        return caught
    raise AssertionError(f"it was taken, with {brief(found)}")


def same(found, wanted):
    """Compares, and tells both."""
    assert found == wanted, f"{brief(found)} instead of {brief(wanted)}"


def has(document, *members):
    """Expects members of a JSON object."""
    assert isinstance(document, dict), f"no object: {brief(document)}"
    missing = [member for member in members if member not in document]
    assert not missing, f"without {', '.join(missing)}: {brief(document)}"
    return document


class Server:
    """A small HTTP server on loopback that keeps what it is asked; answers by `answer(request)`. With `node` it speaks TLS as
    that node: what others push to goes over TLS."""

    def __init__(self, answer=None, node=None):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def read(self):
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return body
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def serve(self):
                parts = urlsplit(self.path)
                request = {"method": self.command, "path": parts.path, "query": parts.query,
                           "headers": {name.lower(): value for name, value in self.headers.items()}, "body": self.read()}
                outer.asked.append(request)
                status, kind, body = answer(request) if answer else (200, "application/json", b"{}")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = serve

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        if node:
            folder = Path(node["folder"]) / "tls"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
            self.address = f"https://localhost:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def last(self, seconds=20.0):
        """The newest request, once there is one."""
        until(lambda: len(self.asked), bool, seconds)
        return self.asked[-1]
