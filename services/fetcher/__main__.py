"""Wiring: settings -> download and move threads -> run until SIGTERM."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from threading import Event, Thread
from time import sleep

from services.fetcher.dispatch import Dispatch
from services.fetcher.epochs import Epochs
from services.fetcher.producer import KafkaProducerWorker
from services.fetcher.settings import FetcherSettings
from services.fetcher.settle import Settler
from services.fetcher.worker import FileProcessorWorker
from shared import kafka, log
from shared.crash import or_leave, stop_on_signals
from shared.errors import Unreachable
from shared.health import Heartbeat
from shared.inventory import Endpoint, endpoints
from shared.messages import BadMessage, FileFound, FileStatus, Settle
from shared.settings import Settings, load
from shared.sftp import FtpServiceManager, Session
from shared.topics import FILES_FOUND, FILES_SETTLE
