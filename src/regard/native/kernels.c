/* What PyTorch has no single operation for. Called from Python through ctypes. */
#include "attention.h"
#include "best.h"
#include "bytes.h"
#include "few.h"
#include "norm.h"

int regard_version(void) { return 1; }
