// Narrowrunc is runc for a machine that withholds CAP_SYS_RESOURCE: before it
// becomes runc it takes that capability out of what the caller asks for, in the
// bundle's configuration and in the process of an exec. What is not there it
// leaves to runc, which says what is wrong with it.
package main
