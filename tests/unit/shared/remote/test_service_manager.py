"""The accounting of the session pool, with sessions that do nothing."""

import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Event

import pytest

from shared.errors import Unreachable
from shared.inventory import Endpoint
from shared.remote.breaker import FIRST_PAUSE_S, TOLERATED
from shared.remote.idle_sessions import IdleSessions
from shared.remote.local import LocalSession
from shared.remote.service_manager import CHECK_AFTER_S, FORGET_AFTER_S, FtpServiceManager
from shared.remote.session import Denied, LoginRefused
from shared.settings import Remote


class PooledSession(LocalSession):
    def __init__(self) -> None:
        super().__init__()
        self.up = True
        self.half_open = False
        self.closed = Event()

    def check(self) -> None:
        if self.half_open:
            raise Unreachable("silence")

    def alive(self) -> bool:
        return self.up

    def close(self) -> None:
        self.up = False
        self.closed.set()


IDLE_S = 60.0


class Network:
    """Opens sessions and counts them. Can be down."""

    def __init__(self, limit: int, wait_s: float = 10.0, idle_s: float = IDLE_S, idle_connections: int = 100) -> None:
        self.sessions: list[PooledSession] = []
        self.down = False
        self.asked = 0
        self.now_s = 0.0
        self.manager = FtpServiceManager(
            Remote(connections_per_host=limit, wait_s=wait_s, idle_s=idle_s, idle_connections=idle_connections),
            now_s=lambda: self.now_s,
            connect=self.connect,
        )

    def connect(self, endpoint: Endpoint, _settings: Remote) -> PooledSession:
        self.asked += 1
        if endpoint.name == "stranger":
            raise LoginRefused("who is that?")
        if self.down:
            raise Unreachable("down")
        self.sessions.append(PooledSession())
        return self.sessions[-1]

    def visit(self, endpoint: Endpoint) -> None:
        with self.manager.session(endpoint):
            pass

    def open(self) -> int:
        return sum(session.up for session in self.sessions)


def element(name: str, host: str = "h1") -> Endpoint:
    return Endpoint(name=name, host=host, username=name)


def test_an_idle_session_is_handed_out_again_unless_it_is_too_old_or_dead() -> None:
    network = Network(limit=2)
    for at_s, sessions in ((0.0, 1), (IDLE_S - 1, 1), (2 * IDLE_S, 2)):
        network.now_s = at_s
        with network.manager.session(element("a")):
            assert len(network.sessions) == sessions
    network.sessions[-1].up = False
    with network.manager.session(element("a")):
        assert len(network.sessions) == 3
    assert network.open() == 1


def test_a_host_that_serves_many_elements_never_has_more_sessions_than_its_limit() -> None:
    network = Network(limit=3)
    most = []
    together = Barrier(3)

    def visit(number: int) -> None:
        with network.manager.session(element(f"e{number}")):
            together.wait(10)
            most.append(network.open())

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(visit, range(30)))
    assert max(most) == 3
    assert network.open() <= 3


def test_another_elements_idle_session_makes_place() -> None:
    network = Network(limit=1)
    for name in ("a", "b", "a"):
        with network.manager.session(element(name)):
            assert network.open() == 1
    assert len(network.sessions) == 3


def test_elements_behind_one_host_that_have_one_login_share_its_sessions() -> None:
    network = Network(limit=2)
    for number in range(5):
        network.visit(Endpoint(name=f"e{number}", host="oss", username="pm", directory=f"/{number}", aliases=("x",)))
    assert len(network.sessions) == 1
    for change in ({"password": "other"}, {"username": "b"}, {"key_file": "k"}, {"time_zone": "Asia/Tokyo"}):
        network.visit(replace(Endpoint(name="e", host="oss", username="pm"), **change))  # type: ignore[arg-type]
    assert len(network.sessions) == 5
    network.visit(Endpoint(name="a", protocol="local", host="oss", port=22, directory="/a"))
    network.visit(Endpoint(name="b", protocol="local", host="oss", port=22, directory="/a/b"))
    assert len(network.sessions) == 7


def test_hosts_do_not_wait_for_each_other() -> None:
    network = Network(limit=1)
    with network.manager.session(element("a", "h1")), network.manager.session(element("b", "h2")):
        assert network.open() == 2


def test_one_who_waits_gets_the_place_of_a_session_that_failed() -> None:
    network, inside = Network(limit=1), Event()

    def fail() -> None:
        with network.manager.session(element("a")):
            inside.set()
            raise Unreachable("cut")

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(fail)
        assert inside.wait(10)
        with network.manager.session(element("b")):
            pass
        with pytest.raises(Unreachable):
            failing.result()
    assert [session.up for session in network.sessions] == [False, True]


def test_a_host_that_is_down_is_left_alone_then_asked_once_and_used_again_when_it_answers() -> None:
    network = Network(limit=2)
    network.down = True

    def visit() -> None:
        with network.manager.session(element("a")):
            pass

    for _ in range(10):
        with pytest.raises(Unreachable):
            visit()
    assert network.asked == TOLERATED
    network.now_s, network.down = FIRST_PAUSE_S, False
    visit()
    visit()
    ((state, statistics),) = network.manager.statistics().values()
    assert state == "closed"
    assert (statistics.connected, statistics.reused, statistics.failed, statistics.refused) == (1, 1, TOLERATED, 7)


def test_a_login_that_is_refused_does_not_keep_the_hosts_other_elements_waiting() -> None:
    network = Network(limit=1)

    def visit(name: str) -> None:
        with network.manager.session(element(name)):
            pass

    for _ in range(2 * TOLERATED):
        with pytest.raises(LoginRefused):
            visit("stranger")
    visit("a")
    assert network.asked == 2 * TOLERATED + 1


def test_waiting_for_a_place_has_an_end_and_counts() -> None:
    network = Network(limit=1, wait_s=0.05)

    def visit() -> None:
        with network.manager.session(element("b")):
            pass

    with (
        network.manager.session(element("a")),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Unreachable, match="in use"),
    ):
        pool.submit(visit).result()
    visit()
    ((_, statistics),) = network.manager.statistics().values()
    assert statistics.gave_up == 1


def test_a_session_that_was_idle_for_a_while_and_gives_no_sign_of_life_is_replaced() -> None:
    network = Network(limit=1)
    with network.manager.session(element("a")):
        pass
    network.sessions[0].half_open = True
    network.now_s = CHECK_AFTER_S
    with network.manager.session(element("a")):
        assert [session.up for session in network.sessions] == [False, True]
    ((_, statistics),) = network.manager.statistics().values()
    assert statistics.found_dead == 1


def test_a_refusal_of_one_path_keeps_the_session() -> None:
    network = Network(limit=1)
    for _ in range(2):
        with pytest.raises(Denied), network.manager.session(element("a")):
            raise Denied("not this one")
    assert len(network.sessions) == 1


def test_an_entry_may_set_another_limit_for_its_host() -> None:
    network = Network(limit=1)
    few = replace(element("a"), connections=2)
    with network.manager.session(few), network.manager.session(few):
        assert network.open() == 2


def test_a_session_that_is_idle_too_long_is_closed_though_nobody_asks_for_its_host() -> None:
    network = Network(limit=1)
    network.visit(element("a", "h1"))
    network.now_s = IDLE_S - 1
    network.visit(element("b", "h2"))
    network.manager.reap()
    assert [session.up for session in network.sessions] == [True, True]
    network.now_s = IDLE_S
    network.manager.reap()
    assert [session.up for session in network.sessions] == [False, True]
    assert [statistics.idle for _, statistics in network.manager.statistics().values()] == [0, 1]


def test_an_entry_may_give_up_unused_sessions_sooner() -> None:
    network = Network(limit=1)
    for endpoint in (replace(element("a", "h1"), idle_s=1.0), element("b", "h2")):
        network.visit(endpoint)
    network.now_s = 1.0
    network.manager.reap()
    assert [session.up for session in network.sessions] == [False, True]


def test_a_host_that_nobody_asks_for_is_forgotten_unless_a_session_is_open() -> None:
    network = Network(limit=1)
    with network.manager.session(element("busy", "h1")):
        network.visit(element("gone", "h2"))
        network.now_s = FORGET_AFTER_S - 1
        network.visit(element("used", "h3"))
        network.manager.reap()
        assert list(network.manager.statistics()) == ["h1:22", "h2:22", "h3:22"]
        network.now_s = FORGET_AFTER_S
        network.manager.reap()
        assert list(network.manager.statistics()) == ["h1:22", "h3:22"]


def test_a_thread_closes_old_sessions_and_ends_with_the_last_one() -> None:
    network = Network(limit=1, idle_s=0.01)
    for _ in range(2):  # the thread starts again
        network.visit(element("a"))
        network.now_s += 1.0
        assert network.sessions[-1].closed.wait(10)
        if (thread := network.manager.reaper) is not None:
            thread.join(10)
        assert network.manager.reaper is None


def test_a_session_that_its_server_closed_is_replaced_and_counts_as_no_failure() -> None:
    network = Network(limit=1)
    network.visit(element("a"))
    network.sessions[0].up = False
    network.manager.reap()
    assert network.sessions[0].closed.is_set()
    network.visit(element("a"))
    network.sessions[1].up = False  # noticed when it is taken
    network.visit(element("a"))
    ((state, statistics),) = network.manager.statistics().values()
    assert state == "closed"
    assert (statistics.connected, statistics.failed, statistics.refused) == (3, 0, 0)
    assert network.open() == 1


def test_beyond_the_limit_of_the_process_the_least_recently_used_idle_session_is_closed() -> None:
    network = Network(limit=2, idle_connections=2)
    for name in ("a", "b", "a", "c"):
        network.visit(element(name, host=name))
    assert [session.up for session in network.sessions] == [True, False, True]
    evicted = {host: statistics.evicted for host, (_, statistics) in network.manager.statistics().items()}
    assert evicted == {"a:22": 0, "b:22": 1, "c:22": 0}
    network.visit(element("b", host="b"))
    assert network.open() == 2


def test_sessions_in_use_do_not_count_as_idle() -> None:
    network = Network(limit=1, idle_connections=1)
    with network.manager.session(element("a", "h1")), network.manager.session(element("b", "h2")):
        assert network.open() == 2
    assert network.open() == 1


def test_no_session_is_kept_if_none_may_be_idle() -> None:
    network = Network(limit=1, idle_connections=0)
    network.visit(element("a"))
    assert network.open() == 0


def test_idle_sessions_take_at_most_half_of_the_files_that_a_process_may_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
    try:
        assert (IdleSessions(1000).most, IdleSessions(100).most) == (250, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_closed_pool_keeps_no_session_and_may_be_used_again() -> None:
    network = Network(limit=1)
    network.visit(element("a"))
    network.manager.close()
    assert network.open() == 0
    network.visit(element("a"))
    assert network.open() == 1
    network.manager.close()


def test_no_session_is_closed_while_it_is_lent_whatever_is_closed_around_it() -> None:
    network, hosts, stop = Network(limit=2, idle_connections=5), 20, Event()

    def visit(number: int) -> None:
        for _ in range(3):  # the second and third time, the session is often still there
            with network.manager.session(element(f"e{number % 3}", host=f"h{number % hosts}")) as session:
                assert session.alive()
                network.now_s += IDLE_S / 100
                assert session.alive()

    def reap() -> None:
        while not stop.is_set():
            network.manager.reap()

    with ThreadPoolExecutor(9) as pool:
        reaping = pool.submit(reap)
        list(pool.map(visit, range(1500)))
        stop.set()
        reaping.result()
    states = [statistics for _, statistics in network.manager.statistics().values()]
    assert sum(one.connected + one.reused for one in states) == 4500
    assert sum(one.reused for one in states) > 0
    assert sum(one.evicted for one in states) > 0
    assert [one.in_use for one in states] == [0] * hosts
    assert network.open() == sum(one.idle for one in states) <= 5


def test_a_host_whose_limit_falls_has_no_more_sessions_than_that_once_they_are_given_back() -> None:
    network = Network(limit=4)
    limits = [4]
    network.manager.limit = lambda _: limits[0]
    together = Barrier(4)

    def visit(_: int) -> None:
        with network.manager.session(element("a")):
            together.wait(10)
            limits[0] = 2
            together.wait(10)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(visit, range(4)))
    network.visit(element("a"))
    assert network.open() == 2
    assert len(network.sessions) == 4  # one of those was used again


def test_unused_sessions_are_not_kept_with_what_another_process_has_now() -> None:
    network = Network(limit=4)
    ours, theirs = element("a", "h1"), element("b", "h2")
    network.visit(ours)
    network.visit(theirs)
    with network.manager.session(theirs):
        network.manager.keeps = lambda endpoint: endpoint.host == "h1"
        network.manager.close_idle(lambda endpoint: endpoint.host == "h2")
        assert network.open() == 2  # in use; it is not cut
    assert [session.up for session in network.sessions] == [True, False]
    network.visit(ours)
    assert len(network.sessions) == 2
