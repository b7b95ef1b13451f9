"""Classes of the error codes of MySQL and MariaDB. Every code that is not here is unknown."""

from collections.abc import Iterable, Iterator, Mapping

from shared.sinks.failures import FailureClass

NO_SUCH_DATABASE = 1049
REFUSED = {
    1022: "a key occurs twice",
    1048: "a column cannot be null",
    1059: "an identifier is too long",
    1062: "a key occurs twice",
    1063: "a column has a specifier that it cannot have",
    1064: "syntax error",
    1067: "invalid default value",
    1069: "too many keys",
    1070: "too many key parts",
    1071: "a key is too long",
    1074: "a column is too long",
    1101: "a TEXT or JSON column cannot have a default",
    1103: "a table name is invalid",
    1110: "a column is assigned twice",
    1113: "a table needs at least one column",
    1115: "unknown character set",
    1116: "too many tables in a join",
    1117: "too many columns",
    1118: "a row is too large",
    1136: "the number of columns does not match the number of values",
    1153: "a packet is larger than max_allowed_packet",
    1162: "a result is longer than max_allowed_packet",
    1166: "a column name is invalid",
    1163: "the table cannot hold texts",
    1167: "a key column is invalid",
    1170: "a text in a key has no length",
    1171: "a part of the primary key is nullable",
    1235: "the server does not support this",
    1264: "a number is out of range",
    1265: "a value would be truncated",
    1267: "mixed collations",
    1292: "a time is invalid",
    1300: "invalid characters",
    1301: "a result is longer than max_allowed_packet",
    1303: "a name cannot be created here",
    1364: "a column has no default",
    1366: "a text is not in the column's character set",
    1367: "an illegal value was found while parsing",
    1406: "a text is too long",
    1411: "a value is invalid for a function",
    1426: "a precision is too large",
    1439: "a display width is out of range",
    1441: "a time is out of range",
    1480: "limits of a partition are invalid",
    1493: "limits of partitions do not increase",
    1499: "too many partitions",
    1503: "a unique key lacks a column of the partitions",
    1526: "no partition for a value",
    1563: "a limit of a partition is out of range",
    1627: "a comment of a column is too long",
    1629: "a comment of a column is too long",
    1690: "a number is out of range",
    3140: "invalid JSON",
    3141: "invalid JSON in a function",
    3144: "JSON cannot be made of this character set",
    3156: "JSON cannot be converted to a number",
    3157: "JSON is nested too deeply",
    3819: "a check refuses a value",
    4025: "a check refuses a value (MariaDB: also invalid JSON)",
}
"""Data that the server will never accept, or a statement that pmflow should not have sent."""
STALE = {
    1050: "the table exists already",
    1051: "unknown table",
    1054: "unknown column",
    1060: "the column exists already",
    1072: "a key's column does not exist",
    1091: "a column or key to be dropped does not exist",
    1146: "no such table: dropped by somebody",
    1347: "a table is in the place of a view",
    1356: "a view refers to a column or table that no longer exists",
    1412: "the table was changed during the transaction",
    1505: "the table is not partitioned",
    1507: "no such partition",
    1508: "the only partition cannot be dropped",
    1517: "a partition exists already",
    1615: "the table was changed during the statement",
}
"""Another process changed the schema."""
TRANSIENT = {
    **dict.fromkeys((1003, 1005, 1016, 1021, 1024, 1025, 1026, 1028, 1030, 1114, 3675), "no space, or a file fails"),
    **dict.fromkeys((1037, 1038, 1041), "no memory"),
    1815: "an internal error: MariaDB has no space for a new column",
    **dict.fromkeys((1040, 1203, 1226, 3170), "too many connections or a quota is used up"),
    **dict.fromkeys((1043, 1047, 1152, 1158, 1159, 1160, 1161, 1184, 4031), "the connection broke"),
    **dict.fromkeys((1053, 1077, 1079, 1080, 3032, 3168), "the server is starting or stopping, or not ready"),
    **dict.fromkeys(
        (1020, 1099, 1100, 1150, 1180, 1192, 1205, 1206, 1213, 1223, 1297, 3058, 3572), "locks or a transaction"
    ),
    **dict.fromkeys((1036, 1290, 1792, 1836, 3100, 3101), "read-only, or the group of servers refuses to commit"),
    **dict.fromkeys((1317, 1927, 1969, 3024), "the statement was stopped"),
    **dict.fromkeys((1034, 1035, 1194, 1195), "a table is damaged and waits for its repair"),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013, 2014, 2027, 2055), "reported by the client: no connection"),
}
"""Down, busy, locked, read-only, without space."""
OPERATOR = {
    1044: "no rights in this database",
    1045: "the password is wrong",
    NO_SUCH_DATABASE: "no such database, and no right to create it",
    1129: "too many failed connections: blocked until FLUSH HOSTS",
    1130: "connections from this host are not allowed",
    1142: "no right for this statement",
    1143: "no right for this column",
    1193: "unknown system variable: the server is of another kind or version",
    1227: "no privilege for this operation",
    1231: "a system variable does not accept a value",
    1273: "unknown collation: the server is of another kind or version",
    1286: "the storage engine is missing",
    1298: "unknown time zone",
    1305: "a function is missing",
    1370: "no right for this function",
    1396: "an operation on a user failed",
    1410: "no right to create a user with rights",
    1467: "no numbers are left for new objects",
    1524: "an authentication plug-in is missing",
    1598: "the binary log does not accept the statement",
    1698: "access denied for this user",
    1820: "the password must be changed",
    1812: "the file of a table is missing",
    1862: "the password has expired",
    2026: "TLS failed",
    2054: "the authentication of this server is not supported",
    2059: "an authentication plug-in is missing",
    2061: "authentication needs TLS",
    3098: "the table does not meet the rules of the group of servers",
    3118: "the account is locked",
    3159: "connections without TLS are not allowed",
    4151: "the account is locked (MariaDB)",
}
"""The data waits in Kafka until an operator changes rights, passwords or settings."""


def _classes() -> Iterator[tuple[FailureClass, Iterable[int]]]:
    yield "refused", REFUSED
    yield "stale", STALE
    yield "passing", TRANSIENT
    yield "operator", OPERATOR


ERROR_CLASSES: Mapping[int, FailureClass] = {code: name for name, codes in _classes() for code in codes}
