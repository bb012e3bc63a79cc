"""The JupyterLab and Notebook 7 of the test environment on a free local port, with its own settings and no network access."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

READY_BOUND = 60.0  # seconds to import JupyterLab on two busy cores
STOP_BOUND = 20.0  # seconds; the server shuts down its kernels first

# Switches off requests to other hosts, and processes other than kernels.
_SERVER = {
    "ServerApp": {"jpserver_extensions": {"jupyter_lsp": False, "jupyter_server_terminals": False}},
    "LabApp": {"news_url": None, "check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate"},
}
_PAGE = {
    "disabledExtensions": {
        "@jupyterlab/apputils-extension:announcements": True,
        "@jupyterlab/debugger-extension": True,  # it reports an error when a notebook is closed soon after its opening
        "@jupyterlab/extensionmanager-extension": True,
        "@jupyterlab/fileeditor-extension:language-server": True,
        "@jupyterlab/lsp-extension": True,
        "@jupyterlab/notebook-extension:language-server": True,
    }
}
_SETTINGS = {
    # An autosave would happen at a random moment of a test.
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
_ANNOUNCED = re.compile(r"http://127\.0\.0\.1:(\d+)/lab\?token=")


class LabServer:
    """Serves the notebooks in `root`. `stop` ends the server and its kernels. folder: an empty one for its files."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir(exist_ok=True)
        self.log = folder / "jupyter.log"
        self._token = secrets.token_hex(16)
        _write(folder / "config/jupyter_server_config.json", _SERVER)
        _write(folder / "config/labconfig/page_config.json", _PAGE)
        for name, values in _SETTINGS.items():
            _write(folder / "settings/@jupyterlab" / f"{name}.jupyterlab-settings", values)
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": 0,
            "ServerApp.root_dir": self.root,
            "ServerApp.terminals_enabled": False,
            "IdentityProvider.token": self._token,
            "JupyterNotebookApp.expose_app_in_browser": True,
            "LabApp.extension_manager": "readonly",
            "LabApp.user_settings_dir": folder / "settings",
            "LabApp.workspaces_dir": folder / "workspaces",
        }
        flags = ["--no-browser", "--allow-root", "--expose-app-in-browser"]
        folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *flags, *(f"--{name}={value}" for name, value in options.items())],
            env=os.environ
            | {name: str(folder / path) for name, path in folders.items()}
            | {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._port = 0
        self._announced = threading.Event()
        self._reader = threading.Thread(target=self._read, name="jupyter log", daemon=True)
        self._reader.start()
        if not self._announced.wait(READY_BOUND) or not self._listens():
            self.stop()
            raise RuntimeError(f"JupyterLab did not start in {READY_BOUND} s:\n{self.log.read_text()}")

    def _listens(self) -> bool:
        """Waits until the port is open: Jupyter prints the URL just before."""
        deadline = time.monotonic() + READY_BOUND
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return True
        return False

    def _read(self) -> None:
        with self.log.open("w") as log:
            for line in self._process.stderr:
                log.write(line)
                log.flush()
                if not self._port and (found := _ANNOUNCED.search(line)):
                    self._port = int(found[1])
                    self._announced.set()
        self._announced.set()

    @property
    def url(self) -> str:
        """The URL of JupyterLab, with its token."""
        return f"http://127.0.0.1:{self._port}/lab?token={self._token}"

    def notebook_url(self, name: str, front_end: str = "notebooks") -> str:
        """The URL of a notebook in Notebook 7, or in nbclassic with the front end `nbclassic/notebooks`."""
        return f"http://127.0.0.1:{self._port}/{front_end}/{name}?token={self._token}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_BOUND)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join()
            self._process.stderr.close()


def _write(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
