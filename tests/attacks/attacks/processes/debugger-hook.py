# Turns on whatever Python would run in the next interpreter: hooks, paths, start-up files.
# expect: "clean"
import subprocess

with open("sitecustomize.py", "w") as file:
    file.write("print('hooked')")
os.environ.update(PYTHONPATH=os.getcwd(), PYTHONSTARTUP="sitecustomize.py", PYTHONINSPECT="1")
print(subprocess.run([sys.executable, "-I", "-c", "print('clean')"], capture_output=True, text=True).stdout, end="")
