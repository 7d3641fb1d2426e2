"""How Voila serves ``notebooks/app.ipynb``, and nothing else: read by ``make app`` and by the tests of the app.

``RSPRUNE_APP_HOST`` is the public name of a proxy in front (README, "The app"); a token is asked for then.
"""

import os
import sys

import psutil
import voila.app

sys.path.append(os.path.dirname(__file__))  # behind everything: this file is called as the package is
from studio_pages import PageHandler, PageSocket, page_kernels

c = get_config()  # noqa: F821 - traitlets puts it here
host = os.environ.get("RSPRUNE_APP_HOST", "")

# Only this machine can connect. The name in the request is checked too: otherwise any web page in the same browser
# could reach the app by pointing its own name at 127.0.0.1 (DNS rebinding).
c.Voila.ip = "127.0.0.1"
settings = {"allow_remote_access": False, "local_hostnames": ["localhost", *filter(None, [host])]}

# A page that is closed ends its kernel by a POST that Voila sends without the token against forgery; the name of the
# kernel, which nobody can guess, is what protects it. Refused, every closed page would keep its memory.
settings["disable_check_xsrf"] = True

# The page may load from this server only. Voila's template asks a CDN for icons that it also has itself; without this
# rule a machine that is offline, or behind a slow proxy, would wait for the CDN before it shows anything.
settings["headers"] = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
c.Voila.tornado_settings = settings
c.Voila.auto_token = bool(host)  # JUPYTER_TOKEN, or a new one that the terminal shows

# A text browser would take over the terminal, so one is opened only where there are windows.
windows = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
c.Voila.open_browser = bool(windows) and not host

# Kernels inherit what follows. One heap for all threads of a kernel: the holes that one heap a thread leaves came to
# 0.2 GB (results/studio_memory.json has what is left).
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

# With strangers in front, the app takes no names of folders of this machine.
if host:
    os.environ["RSPRUNE_APP_SHARED"] = "1"

# The page is all there is to see: no source, no traceback, no file of this folder, no other look by ?template=.
c.VoilaConfiguration.strip_sources = True
c.VoilaConfiguration.show_tracebacks = False
c.VoilaConfiguration.file_allowlist = []
c.VoilaConfiguration.file_denylist = [".*"]
c.VoilaConfiguration.allow_template_override = "NO"
c.VoilaConfiguration.allow_theme_override = "NO"
c.VoilaConfiguration.extension_denylist = ["jupyterlab_pygments", "@voila-dashboards/jupyterlab-preview"]

# Voila has no setting for what answers a request and for who keeps count of the kernels.
voila.app.TornadoVoilaHandler, voila.app.voila_kernel_manager_factory = PageHandler, page_kernels
c.Voila.kernel_websocket_connection_class = PageSocket
c.MappingKernelManager.kernel_manager_class = "studio_pages.QuickKernel"

# A page takes 1.1 GB with EuroSAT's network: as many as three quarters of the memory hold.
c.PageKernels.limit = int(os.environ.get("RSPRUNE_APP_PAGES") or max(2, 0.75 * psutil.virtual_memory().total // 1.1e9))

# A phone that sleeps, or a browser that was ended, closes no page: one that answers no ping for half a minute has lost
# its connection, and if it does not come back its kernel ends (`PageKernels.patience`).
settings["ws_ping_interval"], settings["ws_ping_timeout"] = 10_000, 30_000  # ms

# An upload is one message: as large as the app promises (`rsprune_lib.data.upload.MAX_BYTES`; that module would bring
# PyTorch into the server) and some room for what is around the file. What is larger is told by `PageSocket`.
settings["websocket_max_message_size"] = 64_000_000 + 100_000

# What only a reader of the notebook needs is left out.
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_cell_tags = {"notebook-only"}

# Every page has a kernel of its own; the next one waits with the app already on it, so a page needs no import.
c.VoilaConfiguration.preheat_kernel = True
# It is made some time after the last one was taken: earlier, both would want the processor while the page opens.
c.VoilaConfiguration.default_pool_size = 1
c.VoilaKernelManager.fill_delay = 40  # seconds; at 20, one of a person's first moves waited for it, for 0.15 s

# The app measures its first setting on a thread while its cell ends; on a busy machine the kernel's messages can take
# longer than the usual 4 s then, and Voila would leave the app out of the page without a word.
c.VoilaExecutor.iopub_timeout = 300
c.VoilaExecutor.startup_timeout = 300

# A closed page ends its kernel; one that is left open ends it after an hour without a move, and frees its memory: the
# app calls itself alive for half an hour (`rsprune_studio.views.kernel_alive`), and the server waits for as long again.
c.MappingKernelManager.cull_idle_timeout = 1800
c.MappingKernelManager.cull_interval = 60
c.MappingKernelManager.cull_connected = True
