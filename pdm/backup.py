"""`pdm-twin backup` and `restore`: everything that the service keeps in one tar file, made while it runs.

state/<table>.arrow   the rows of each table, all of one moment, whatever kind of database they stand in
readings/<file>       the reading logs, copied after the state: what they hold more, the next tick takes up
manifest.json         what is in the file with its SHA-256, at the end
"""

import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import msgspec
from sqlalchemy import Connection, MetaData, Table, select

from pdm import __version__, durable
from pdm.errors import ConfigurationError, ConflictError, DamagedRecordError, StoreError
from pdm.settings import Settings
from pdm.state import archive, migrations, schema
from pdm.state.engines import database_file, opened_engine, parsed_url
from pdm.state.lock import sole_writer
from pdm.state.schema import read, write

FORMAT = 1
MANIFEST = "manifest.json"

_CHUNK = 1 << 20
_NAMES = re.compile(r"state/[a-z_]+\.arrow|readings/(?![./])(?!.*/[./])[^\\\x00-\x1f]+")
_PASSING = ("-wal", "-shm", "-journal", ".lock", ".tmp", ".part", "forwarded.json")
"""Endings of files that say nothing in a copy; how far readings were forwarded stands in the state as well."""

_DATABASES = (".db", ".sqlite")
_TRIES = 5


class Held(msgspec.Struct):
    """One file of a backup."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct):
    """What a backup says about itself; `schema` is the version of the tables."""

    format: int
    program: str
    made_at: str
    schema: str
    files: dict[str, Held]


def back_up(settings: Settings, file: Path) -> Manifest:
    """Write a backup; the file is there once it is whole.

    Raises:
        StoreError: a store does not answer, or there is no room.
        ConfigurationError: the state database has another schema than this program, or none.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
            manifest = _fill(_Packer(tar, file.parent), settings)
        durable.sync(part)
        part.replace(file)
        durable.sync(file.parent)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def restore(settings: Settings, file: Path, *, force: bool) -> Manifest:
    """Bring a backup back where there is nothing, or with `force` in place of what is there.

    With `force`, files that are replaced stay beside the new ones; tables on a server are gone.

    Raises:
        DamagedRecordError: the file is no backup, or not the bytes that were written. Nothing was changed.
        ConflictError: a service runs, or there is something already. Nothing was changed.
        StoreError: it was made by a newer version of this program. Nothing was changed.
    """
    url, folder = settings.state_url(), settings.readings_folder()
    with sole_writer(url):
        manifest = _checked(file)
        if not force and (_holds_rows(url) or _files(folder)):
            raise ConflictError(f"there is data already in {_shown(url)} or {folder}; --force replaces it")
        with tarfile.open(file, "r:") as tar:
            _restore_readings(tar, manifest, folder)
            _restore_state(tar, manifest, url)
    return manifest


class _Packer:
    """Adds files to a tar and remembers their hashes; there is room in `folder`."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self._tar, self.folder, self.files = tar, folder, dict[str, Held]()

    def add(self, name: str, file: BinaryIO) -> None:
        """All of a file."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime = file.seek(0, os.SEEK_END), time.time()
        file.seek(0)
        hashed = _Hashed(file)
        self._tar.addfile(member, cast(BinaryIO, hashed))
        self.files[name] = Held(hashed.sha256.hexdigest(), member.size)


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def _fill(packer: _Packer, settings: Settings) -> Manifest:
    version = _add_state(packer, settings.state_url())  # first: what readings there are beyond it counts as new
    with _copied(settings.readings_folder()) as folder:
        for path in _files(folder):
            with path.open("rb") as readings:
                packer.add(f"readings/{path.relative_to(folder).as_posix()}", readings)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(FORMAT, __version__, made_at, version, dict(packer.files))
    packer.add(MANIFEST, BytesIO(msgspec.json.format(msgspec.json.encode(manifest))))
    return manifest


def _add_state(packer: _Packer, url: str) -> str:
    """All tables as they are in one moment; returns the version of their schema."""
    if (file := database_file(url)) is not None and not file.exists():
        raise ConfigurationError(f"there is no state database {file}", key="state.url")
    with opened_engine(url) as engine, read(engine) as connection:
        version, newest = migrations.version_of(connection), migrations.known_versions()[-1]
        if version != newest:
            raise ConfigurationError(f"the state database has schema {version or 'none'}: run `pdm-twin migrate` first")
        for name, table in schema.metadata.tables.items():
            with TemporaryFile(dir=packer.folder) as spool:
                archive.dump(connection, table, cast(BinaryIO, spool))
                packer.add(f"state/{name}.arrow", cast(BinaryIO, spool))
    return version


@contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    """A folder with the reading logs as they are, which others write to meanwhile.

    Logs come first, then the manifest of what was compacted, then the files that it names: what went from the former
    into the latter while this ran, is in both, and counts once. A manifest that changed between is copied again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="backup-", dir=folder.parent) as temporary:
        for number in range(_TRIES):
            made = Path(temporary) / f"{number}"
            made.mkdir()
            try:
                for path in _files(folder):
                    _copy(path, made / path.relative_to(folder))
                if all(_same_rows(path, made / path.name) for path in folder.glob("*.sqlite")):
                    break
            except FileNotFoundError:  # compacted meanwhile
                continue
        else:
            raise StoreError(f"the files in {folder} change too fast to be copied")
        yield made


def _files(folder: Path) -> list[Path]:
    """The files of a folder of readings, those of SQLite first: logs, then manifests."""

    def turn(path: Path) -> tuple[int, Path]:
        return (_DATABASES.index(path.suffix) if path.suffix in _DATABASES else len(_DATABASES)), path

    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(_PASSING))
    hidden = set(folder.rglob(".*"))
    return sorted((path for path in found if not hidden & {path, *path.parents}), key=turn)


def _copy(source: Path, target: Path) -> None:
    """A copy of a file as it is in one moment: SQLite copies its own, others are written once and never changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix not in _DATABASES:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        return
    try:
        with closing(_opened(source)) as before, closing(sqlite3.connect(target)) as after:
            before.backup(after)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{source.name}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DamagedRecordError(f"{source.name} is damaged: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30)


def _same_rows(one: Path, other: Path) -> bool:
    with closing(_opened(one)) as a, closing(_opened(other)) as b:
        return list(a.iterdump()) == list(b.iterdump())


def _checked(file: Path) -> Manifest:
    """The manifest of a backup all of whose bytes are those that were written."""
    found, text = dict[str, Held](), b""
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise DamagedRecordError(f"{file} is no backup of pdm-twin: {member.name!r} is no file")
                if member.name == MANIFEST:
                    text = content.read()
                else:
                    digest = hashlib.file_digest(cast(Any, content), "sha256").hexdigest()
                    found[member.name] = Held(digest, member.size)
        manifest = msgspec.json.decode(text, type=Manifest)
    except (tarfile.TarError, msgspec.MsgspecError, EOFError) as error:
        raise DamagedRecordError(f"{file} is no backup of pdm-twin, or breaks off: {error}") from error
    _refuse_other(file, manifest, found)
    return manifest


def _refuse_other(file: Path, manifest: Manifest, found: dict[str, Held]) -> None:
    if manifest.format != FORMAT or manifest.schema not in migrations.known_versions():
        raise StoreError(
            f"{file} was made by pdm-twin {manifest.program} with schema {manifest.schema}, which this program does "
            "not know: install the newer pdm-twin"
        )
    strange = [name for name in found if not _NAMES.fullmatch(name)]
    wrong = [name for name in found.keys() | manifest.files.keys() if found.get(name) != manifest.files.get(name)]
    if strange or wrong:
        raise DamagedRecordError(f"{file} is damaged: {sorted(strange + wrong)[0]} is not what was written")


def _holds_rows(url: str) -> bool:
    if (file := database_file(url)) is not None and not file.exists():
        return False
    try:
        with opened_engine(url) as engine, read(engine) as connection:
            tables = MetaData()
            tables.reflect(connection)
            filled = (table for table in _ours(tables) if connection.execute(select(table).limit(1)).first())
            return any(table.name != "alembic_version" for table in filled)
    except DamagedRecordError:
        return True


def _restore_readings(tar: tarfile.TarFile, manifest: Manifest, folder: Path) -> None:
    made = folder.with_name(f"{folder.name}.restoring")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for name in (name for name in manifest.files if name.startswith("readings/")):
        target = made / name.removeprefix("readings/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(_content(tar, name), file, _CHUNK)
        durable.sync(target)
    _put_in_place([made], [folder])


def _restore_state(tar: tarfile.TarFile, manifest: Manifest, url: str) -> None:
    if (file := database_file(url)) is None:
        with opened_engine(url) as engine, write(engine) as connection:
            _drop_tables(connection)
            _fill_tables(connection, tar, manifest)
        return
    made = file.with_name(f"{file.name}.restoring")
    made.unlink(missing_ok=True)
    with opened_engine(str(parsed_url(url).set(database=str(made)))) as engine, write(engine) as connection:
        _fill_tables(connection, tar, manifest)
    durable.sync(made)
    parts = [Path(f"{file}{ending}") for ending in ("", "-wal", "-shm")]
    _put_in_place([made], parts)


def _fill_tables(connection: Connection, tar: tarfile.TarFile, manifest: Manifest) -> None:
    """Make the tables as they were, fill them, and bring them to the newest version."""
    migrations.migrate(connection, manifest.schema)
    for name in (name for name in manifest.files if name.startswith("state/")):
        archive.load(connection, Path(name).stem, _content(tar, name))
    migrations.migrate(connection, migrations.known_versions()[-1])


def _drop_tables(connection: Connection) -> None:
    there = MetaData()
    there.reflect(connection)
    there.drop_all(connection, tables=_ours(there))


def _put_in_place(made: Sequence[Path], places: Sequence[Path]) -> None:
    """Rename what was made to where it belongs; what is there goes aside."""
    aside = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for place in places:
        if place.exists():
            place.rename(place.with_name(f"{place.name}.replaced-{aside}"))
    for new, place in zip(made, places, strict=False):
        new.rename(place)
        durable.sync(place.parent)


def _ours(there: MetaData) -> list[Table]:
    return [table for table in there.sorted_tables if table.name in {*schema.metadata.tables, "alembic_version"}]


def _content(tar: tarfile.TarFile, name: str) -> BinaryIO:
    return cast(BinaryIO, tar.extractfile(name))


def _shown(url: str) -> str:
    return str(database_file(url) or f"the database {parsed_url(url).database}")
