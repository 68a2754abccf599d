"""Without a network, a missing file is reported at once, in one line; with a bad connection, a transfer is retried."""

import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT, TOY, TOY_LINES

NOBODY = 'http://127.0.0.1:9'  # the port of `discard`, where nothing listens
UNREACHED = r'not in the local cache and could not be fetched \(127\.0\.0\.1 cannot be reached: '


def environment(tmp_path):
    kept = {key: value for key, value in os.environ.items() if not key.startswith('HF_') and 'proxy' not in key.lower()}
    kept |= {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return {**kept, 'HF_HOME': str(tmp_path / 'hub'), 'HF_ENDPOINT': NOBODY}


@pytest.mark.parametrize(
    'line, message',
    [
        ("run.backbones = ['eva02_vitb14']", UNREACHED),
        ("run.backbones = ['clip_vitb16']", UNREACHED),
        ("run.backbones = ['hf-hub:a/b']", UNREACHED),
        ("run.datasets = ['hf:a/b']", "expected to load split 'train', got: Couldn't reach 'a/b' on the Hub"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_told_once_and_soon(tmp_path, line, message):
    lines = [*TOY_LINES, "run.methods = ['random']", line]
    command = [sys.executable, '-m', 'bench.run', f'--plugin={TOY}', *(f'--gin_bindings={each}' for each in lines)]
    command += [f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}']
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, env=environment(tmp_path)
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.count('\n') == 1
    assert re.search(message, done.stderr)
    # imports take most of it; the client's own rules take 23 s for a file
    assert time.monotonic() - start < 20


def test_after_the_first_answer_the_clients_own_rules_hold(tmp_path):
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    code = f'''
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import get_session, httpx
from bench.core.online import give_up_soon

def asked(url):
    try:
        return get_session().get(url).status_code
    except (OfflineModeIsEnabled, httpx.ConnectError) as error:
        return type(error).__name__

for _ in range(2):
    give_up_soon()
import sys
print(asked('{NOBODY}'), asked('{NOBODY}'), asked(sys.argv[1]), asked('{NOBODY}'))
'''
    with ThreadingHTTPServer(('127.0.0.1', 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        done = subprocess.run(
            [sys.executable, '-c', code, url], cwd=tmp_path, capture_output=True, text=True, timeout=100,
            env=environment(tmp_path),
        )  # fmt: skip
        server.shutdown()
    assert done.stdout.split() == ['OfflineModeIsEnabled', 'OfflineModeIsEnabled', '404', 'ConnectError'], done.stderr
