"""Where it was measured, and what else ran there."""

import os
import pathlib
import platform
import resource
import subprocess
import time

from server import SERVERS


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def compiler(folder):
    return (folder / "tools/built_with").read_text().strip()


def libraries(folder, names):
    """As the servers tell it themselves."""
    programs = [folder / SERVERS[name].program for name in names if SERVERS[name].needs]
    return [subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
            for program in programs]


def describe(folder, names, cpus):
    placing = f"server on CPU {cpus[0]}, load on CPU {cpus[1]}" if cpus else "not pinned: one CPU"
    return "; ".join([
        f"{cpu_model()}, {os.cpu_count()} CPUs", f"Linux {platform.release()}", compiler(folder),
        *libraries(folder, names), placing])


class Disturbance:
    """How much CPU time others took, from its creation to tell()."""

    def __init__(self):
        self.began = time.monotonic()
        self.others_before = self.others()

    @staticmethod
    def others():
        """All that the machine did, and was kept from doing, but for us and our ended children."""
        user, nice, system, _, _, _, _, stolen = map(
            int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
        busy = (user + nice + system + stolen) / os.sysconf("SC_CLK_TCK")
        ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return busy - sum(usage.ru_utime + usage.ru_stime for usage in ours)

    def tell(self):
        taken = (self.others() - self.others_before) / (time.monotonic() - self.began)
        percent = max(0, round(100 * taken))
        verdict = ": noisy figures, run it on an idle machine" if percent > 10 else ""
        return f"Others took {percent} % of a CPU meanwhile{verdict}."
