"""A drop folder beside a running service."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pdm.clocks import ServiceClock
from tests.system.service import DAY_MS, Service, wait_until

BASE_S = (ServiceClock().plant_ms() - DAY_MS) // 1000


@pytest.mark.slow
def test_a_file_that_appears_beside_a_running_service_is_imported_and_ticked(tmp_path: Path) -> None:
    with Service(tmp_path, {"readings": {"drop_folder": str(tmp_path / "drop")}}) as service:
        service.start()
        wait_until((tmp_path / "drop" / "done").exists, "nobody looks into the folder")
        rows = "\n".join(f"{BASE_S + number},p1,{number}" for number in range(50))
        (tmp_path / "drop" / "refused.csv").write_text(f"time,source,number\n{rows}\n")
        times = [f"1970-01-01T00:00:00Z,p1,{number}" for number in range(3)]
        (tmp_path / "drop" / "old.csv").write_text("time,source,number\n" + "\n".join(times))
        wait_until((tmp_path / "drop" / "failed" / "refused.csv").exists, "the file is not put apart")
        assert "--epoch-unit" in (tmp_path / "drop" / "failed" / "refused.csv.txt").read_text()
        wait_until((tmp_path / "drop" / "done" / "old.csv.report.csv").exists, "no report")
        (tmp_path / "drop" / "good.csv").write_text(
            "time,source,number\n" + "\n".join(f"{_text(BASE_S + number)},p1,{number}" for number in range(50))
        )
        wait_until(lambda: service.get("assets/P-1/twin")["steps"] == 50, "no readings")
        assert service.stop() == 0


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
