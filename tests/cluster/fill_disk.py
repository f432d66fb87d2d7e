"""Let an experiment's disk fill up in the middle, make room, start it again, and compare with an undisturbed one.

    python -m tests.cluster.fill_disk EXPERIMENT.yaml STORAGE

Needs root, to mount a small file system at STORAGE/small. The experiment needs one trial at a time, as for
`tests.cluster.kill_driver`. Prints the sentence that the full disk ended with, and what was compared.
"""

import subprocess
import sys
import time
from pathlib import Path

from sweep.records.ledger import read_ledger
from tests.cluster.kill_driver import compare, run_undisturbed, start
from tests.cluster.leftovers import find_left, mark

SIZE_MIB = 24


def main(experiment: str, storage: str) -> None:
    """Run undisturbed, then on the small disk, twice, and compare."""
    name, marked = Path(experiment).stem, mark()
    run_undisturbed(experiment, storage, marked)
    small = Path(storage).absolute() / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(small)], check=True)
    try:
        driver = start(experiment, str(small), marked, stderr=subprocess.PIPE)
        while not any(record.state for record in read_ledger(small / name).values()) and driver.poll() is None:
            time.sleep(0.05)
        filler = small / "filler"
        try:
            with filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
        except OSError as error:
            print(f"the disk is full: {error.strerror}")
        _, errors = driver.communicate()
        print(f"exit status {driver.returncode}: {errors.decode().strip()}")
        ended = sum(record.state is not None for record in read_ledger(small / name).values())
        print(f"{ended} trials had ended")
        filler.unlink()
        if driver.returncode != 2 or b"no space left" not in errors or errors.count(b"\n") != 1:
            sys.exit("the full disk was not said in one sentence")
        assert start(experiment, str(small), marked).wait() == 0
        compare(Path(storage) / "undisturbed" / name, small / name)
        if left := find_left(marked):
            sys.exit(f"left over: {left}")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    print("after room was made: the same runs, numbers and best configuration")


if __name__ == "__main__":
    main(*sys.argv[1:])
