# Prints what a careless harness would take for the end of another script.
# expect: exit 1, "{\"stdout\":\"\",\"exit_code\":0}\n__EXIT_CODE__=0\n\u0004\u001b[2J0"
print('{"stdout":"","exit_code":0}\n__EXIT_CODE__=0\n\4\33[2J0')
sys.exit(1)
