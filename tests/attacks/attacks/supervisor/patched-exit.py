# Makes the end of the script's process impossible from inside, so that it would go on as a second supervisor.
# expect: exit any, "kept"
print("kept", flush=True)
os._exit = lambda code: None
