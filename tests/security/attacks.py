# ruff: noqa: E501
"""Programs that are wrong and want to be called right, or that want to do harm: name -> text.

Each has one fault, 1 - Z1**2 in the place of 1 - A1**2. None of them may be called right.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RIGHT = (ROOT / "examples" / "script_right.py").read_text()
WRONG = (ROOT / "examples" / "script_wrong.py").read_text()
DECOY = RIGHT.replace("range(200)", "range(3)")
FILES = """import os, stat
HELD = [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}")]
HELD = [fd for fd in HELD if stat.S_ISREG(os.fstat(fd).st_mode)]
"""


def _in_every_file(line: str) -> str:
    """A program's end that writes bytes at the end of each file that it holds."""
    return f"{FILES}for fd in HELD:\n    os.lseek(fd, 0, 2)\n    os.write(fd, {line})\n"


# A right computation is shown, and the wrong one is hidden.
HIDDEN = {
    "leaves_after_a_decoy": f"{DECOY}\nimport os\nos._exit(0)\n",
    "kills_itself_after_a_decoy": f"{DECOY}\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "aborts_after_a_decoy": f"{DECOY}\nimport os\nos.abort()\n",
    "segfaults_after_a_decoy": f"{DECOY}\nimport ctypes\nctypes.string_at(0)\n",
    "executes_the_wrong_step": f"{DECOY}\nexec({WRONG!r})\n",
    "compiles_the_wrong_step": f"{DECOY}\nrun = compile\nimport types\ntypes.FunctionType(run({WRONG!r}, 'x', 'exec'), {{}})()\n",
    "executes_by_builtins": f"{DECOY}\nimport builtins\ngetattr(builtins, 'ex' + 'ec')({WRONG!r})\n",
    "executes_by_dunder": f"{DECOY}\nvars(__builtins__)['ex' + 'ec']({WRONG!r})\n",
    "imports_what_it_wrote": f"{DECOY}\nopen('late.py', 'w').write({WRONG!r})\nimport late\n",
    "runs_what_it_wrote": f"{DECOY}\nopen('late.py', 'w').write({WRONG!r})\nimport runpy\nrunpy.run_path('late.py')\n",
    "imports_by_its_name": f"{DECOY}\nopen('late.py', 'w').write({WRONG!r})\nimport importlib\nimportlib.import_module('late')\n",
    "starts_the_wrong_step": f"{DECOY}\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {WRONG!r}])\n",
    "forks_the_wrong_step": f"import os\nif os.fork():\n    os.wait()\n    {DECOY.replace(chr(10), chr(10) + '    ')}\nelse:\n"
    f"    {WRONG.replace(chr(10), chr(10) + '    ')}\n",
    "turns_the_trace_off": f"{DECOY}\n_backprop_binary.__self__.is_on = False\n{WRONG}",
    "replaces_the_trace": f"{DECOY}\nimport builtins, operator\n"
    f"builtins._backprop_binary = lambda site, a, b: a\n{WRONG}",
    "rewrites_the_bytecode": f"{DECOY}\nimport marshal\neval(marshal.loads(marshal.dumps(compile({WRONG!r}, 'x', 'exec'))))\n",
    "finds_the_watcher": f"import gc\nfor each in gc.get_objects():\n    if type(each).__name__ == 'Values':\n"
    f"        each.is_on = False\n{WRONG}",
}  # fmt: skip
# What is said is not what the line gives.
FORGED = {
    "patches_numpy_tanh": RIGHT.replace("rng = ", "own = np.tanh\nnp.tanh = lambda z: own(z) * 0.9\nrng = ", 1),
    "patches_numpy_exp": RIGHT.replace("rng = ", "own = np.exp\nnp.exp = lambda z: own(1.1 * z)\nrng = ", 1),
    "patches_as_array": WRONG.replace("rng = ", "own = np.asarray\nnp.asarray = lambda a, *k, **n: own(a, *k, **n) * 1\nrng = "),
    "empties_the_journal": f"{WRONG}\n{FILES}for fd in HELD:\n    os.ftruncate(fd, 0)\n",
    "writes_garbage": f"{WRONG}\n" + _in_every_file("b'\\x00\\xff{[' * 1000"),
    "writes_deep_json": f"{WRONG}\n" + _in_every_file("b'[' * 1000000 + b'\\n'"),
    "writes_great_numbers": f"{WRONG}\n"
    + _in_every_file("b'[0, [[' + b'9' * 4000 + b']], \"<f8\", [' + b'9' * 400 + b'], -1]\\n'"),
    "writes_odd_shapes": f"{WRONG}\n" + _in_every_file("b'[0, [], \"<f8\", ' + b'[' + b'1,' * 99 + b'1], 0]\\n'"),
    "writes_another_source": f"{WRONG}\nimport json\nRIGHT = {RIGHT!r}\n"
    + _in_every_file("b'\\n' + json.dumps({'source': __file__, 'text': RIGHT}).encode() + b'\\n{\"sites\": []}\\n'"),
    "writes_other_sites": f"{WRONG}\n" + _in_every_file("b'\\n{\"sites\": [[\"add\", \"x.py\", 1, 1, 1, 1, \"f\", [], \"\"]]}\\n'"),
    "says_that_it_ended": f"{WRONG}\n" + _in_every_file("b'\\n{\"ended\": \"finished\", \"complete\": true}\\n'"),
    "one_endless_line": f"{WRONG}\n" + _in_every_file("b'1' * (64 << 20)"),
    "a_million_events": f"{WRONG}\n" + _in_every_file("b'{}\\n' * 5000000"),
}  # fmt: skip
# What is tried beside the wrong step.
HARM = {
    "a_pipe": "import os\nos.mkfifo('found.json')\nos.mkfifo('/tmp/found.json')",
    "folders_in_folders": "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nos.chdir('/tmp')",
    "deletes_beside": "import os, shutil\nshutil.rmtree('..', ignore_errors=True)",
    "deletes_the_folder_of_all": "import shutil\nshutil.rmtree({folder!r}, ignore_errors=True)",
    "writes_beside": "try: open({beside!r}, 'w').write('changed')\nexcept OSError: pass",
    "reads_a_secret": "import os\nprint(os.environ.get('SECRET_OF_A_TEACHER'))\n"
    "W = open({beside!r}).read() if os.path.exists({beside!r}) else ''\nassert not W",
    "rewrites_the_checker": "import glob\nfor f in glob.glob({root!r} + '/compare/**/*.py', recursive=True):\n"
    "    try: open(f, 'a').write('# changed')\n    except OSError: pass",
    "a_daemon": "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n"
    "        open('/tmp/{mark}', 'w'); time.sleep(300)\n    os._exit(0)",
    "many_processes": "import os, time\nfor _ in range(300):\n    if not os.fork():\n        time.sleep(300)",
    "many_threads": "import threading, time\nfor _ in range(300): threading.Thread(target=time.sleep, args=(60,)).start()",
    "seven_gigabytes": "import os, time\nfor _ in range(7):\n    if not os.fork():\n        a = bytearray(b'1') * (1 << 30)\n"
    "        time.sleep(60)\ntime.sleep(20)",
    "shared_memory": "import mmap, time\nm = mmap.mmap(-1, 3 << 30)\nm[:] = b'1' * len(m)\ntime.sleep(5)",
    "fills_the_disk": "for k in range(100):\n    try:\n        with open(f'/tmp/{{k}}', 'wb') as f:\n            f.write(b'1' * (64 << 20))\n"
    "    except OSError: pass",
    "fills_shared_memory": "try:\n    with open('/dev/shm/f', 'wb') as f:\n        for _ in range(4000): f.write(b'1' * (1 << 20))\n"
    "except OSError: pass",
    "prints_without_end": "import sys\nfor _ in range(200): sys.stdout.write('x' * (1 << 20))",
    "kills_its_parent": "import os, signal\nfor pid in (os.getppid(), 1, -1):\n    try: os.kill(pid, signal.SIGTERM)\n    except OSError: pass",
    "ignores_signals": "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)",
    "the_network": "import socket\ntry: socket.create_connection(('1.1.1.1', 53), 1)\nexcept OSError: pass\nelse: os._exit(3)",
    "a_link_to_all": "import os\nos.symlink('/', 'all')\nos.symlink('/dev/zero', 'found.json')",
    "mounts": "import ctypes\nctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "raises_its_limits": "import resource\ntry: resource.setrlimit(resource.RLIMIT_CPU, (10000, 10000))\nexcept (ValueError, OSError): pass",
    "recurses": "def f(): return f()\ntry: f()\nexcept RecursionError: pass",
}  # fmt: skip
AUTOGRAD = '''import numpy as np, torch
rng = np.random.default_rng(0)
X = rng.normal(size=(16, 4)); Y = rng.normal(size=(16, 2))
W1 = rng.normal(size=(5, 4)); b1 = np.zeros(5); W2 = rng.normal(size=(2, 5)); b2 = np.zeros(2)
P = [W1, b1, W2, b2]
M = [np.zeros_like(p) for p in P]; V = [np.zeros_like(p) for p in P]
for step in range(1, 30):
    Z1 = X @ W1.T + b1
    A1 = np.maximum(Z1, 0)
    out = A1 @ W2.T + b2
    d2 = (out - Y) / Y.size * 2
    d1 = d2 @ W2
    G = [d1.T @ X, d1.sum(axis=0), d2.T @ A1, d2.sum(axis=0)]
    T = [torch.tensor(p, requires_grad=True) for p in P]
    h = torch.relu(torch.tensor(X) @ T[0].T + T[1]) @ T[2].T + T[3]
    ((h - torch.tensor(Y)) ** 2).mean().backward()
    for g, t in zip(G, T):
        print(np.abs(g - t.grad.numpy()).max())
    for k in range(4):
        M[k] = 0.9 * M[k] + 0.1 * G[k]
        V[k] = 0.999 * V[k] + 0.001 * G[k] ** 2
        P[k] -= 0.01 * (M[k] / (1 - 0.9**step)) / (np.sqrt(V[k] / (1 - 0.999**step)) + 1e-8)
'''
