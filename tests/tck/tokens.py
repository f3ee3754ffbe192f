"""An OAuth token endpoint in front of a node's management API, as the DCP TCK asks for one: PORT FOLDER."""

import http.server
import json
import sys
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path

port, folder = int(sys.argv[1]), Path(sys.argv[2])
config = tomllib.loads((folder / "concordat.toml").read_text())
management = config["management"]
key = (folder / management["key"]).read_text().strip()


class Tokens(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        scopes = " ".join(form.get("bearer_access_scope", [])).split()
        # org.eclipse.dspace.dcp.vc.type:TYPE:read
        types = [scope.split(":")[1] for scope in scopes]
        wish = json.dumps({"audience": form["audience"][0], "types": types}).encode()
        request = urllib.request.Request(
            f"http://{management['listen']}/v4/tokens",
            wish,
            {"x-api-key": key, "content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", port), Tokens).serve_forever()
