"""What the examples say to --help, and of arguments that cannot be.

    options_test.py BUILD/examples/PROGRAM...
"""

import os
import socket
import sys
import unittest

from program import run

PROGRAMS = sys.argv[1:]


class Options(unittest.TestCase):
    def each(self):
        for program in PROGRAMS:
            with self.subTest(program):
                yield program, os.path.basename(program)

    def check_one_line(self, told, code, *words):
        self.assertEqual((told.returncode, told.stdout), (code, ""), told.stderr)
        self.assertEqual(len(told.stderr.splitlines()), 1, told.stderr)
        for word in words:
            self.assertIn(word, told.stderr)

    def test_help_and_version_are_printed(self):
        for program, name in self.each():
            told = run(program, "--help")
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            for word in (f"usage: {name} ", "--listen", "--help", "--version", "drain"):
                self.assertIn(word, told.stdout)
            self.assertLessEqual(max(map(len, told.stdout.splitlines())), 100)
            told = run(program, "--version")
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            self.assertRegex(told.stdout, rf"^{name} \(weir\) \d+\.\d+\.\d+\n$")

    def test_wrong_arguments_are_one_line_and_exit_code_2(self):
        for program, name in self.each():
            for arguments, word in ((["--colour"], "--colour"), (["--listen"], "--listen"),
                                    (["stray"], "'stray'")):
                self.check_one_line(run(program, *arguments), 2, name, word)

    def test_urls_that_cannot_be_understood_are_one_line_and_exit_code_2(self):
        for program, _ in self.each():
            for url in ("http://127.0.0.1:0", "tcp://127.0.0.1", "tcp://localhost:0",
                        "tcp://127.0.0.1:0?colour=red"):
                self.check_one_line(run(program, "--listen", url), 2, "listen", f"'{url}'")

    def test_a_busy_port_is_one_line_and_exit_code_1(self):
        with socket.create_server(("127.0.0.1", 0)) as busy:
            url = f"tcp://127.0.0.1:{busy.getsockname()[1]}"
            for program, _ in self.each():
                self.check_one_line(run(program, "--listen", url), 1, url, "Address already in use")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
