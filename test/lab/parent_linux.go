package lab

import "syscall"

// endWithParent has the kernel end the process when the test binary is
// killed, so that nothing is left behind.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGTERM }
