# Lets another program try: the walls must hold after exec, with an interpreter that has seen nothing.
# expect: "PermissionError"
import subprocess

source = "import socket\ntry: print(socket.socket())\nexcept OSError as error: print(type(error).__name__)"
print(subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True).stdout, end="")
