"""Makes sure that the brokers answer before a command reads topics: clients would wait for them without end."""

from shared.kafka import admin
from shared.kafka.reach import reach
from shared.kafka.record import KafkaFailure
from shared.settings import Settings, load
from shared.topics import FILES_STATUS, Topic

COMMAND_REACH_S = 5.0


def load_ready(*topics: Topic) -> Settings:
    """Returns the configuration after `require_ready` has accepted the ledger and these topics."""
    settings = load()
    require_ready(settings, FILES_STATUS, *topics)
    return settings


def require_ready(settings: Settings, *topics: Topic) -> None:
    """Returns if the brokers answer and have these topics.

    Raises:
        Unreachable: no broker answers.
        KafkaFailure: the login is refused, or a topic does not exist.
        BadSettings: a file that the section `kafka` names cannot be used.
    """
    reach(settings.kafka, COMMAND_REACH_S)
    if missing := admin.missing(settings.kafka, topics):
        where = f"Kafka {settings.kafka.bootstrap_servers}"
        raise KafkaFailure(
            f"{where} has no topic {', '.join(missing)}, or this login may not see it; run pmflow topics create"
        )
