"""Writes a wheel that is small to fetch and unpacks to more than a layer of packages may hold. Usage: large.py DIR"""
import sys, zipfile

INFO = "rockbot_test_large-1.0.dist-info/"
FILES = {
    "rockbot_test_large/__init__.py": "",
    "rockbot_test_large/zeros": bytes(170 << 20),
    INFO + "METADATA": "Metadata-Version: 2.1\nName: rockbot-test-large\nVersion: 1.0\n",
    INFO + "WHEEL": "Wheel-Version: 1.0\nGenerator: rockbot\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
RECORD = INFO + "RECORD"

with zipfile.ZipFile(sys.argv[1] + "/rockbot_test_large-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
    for path, content in {**FILES, RECORD: "".join("%s,,\n" % path for path in [*FILES, RECORD])}.items():
        wheel.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
