// Package processes tells which programs of this user run, and how they were started: what a hypervisor's process is can
// then be told when all files about it are gone.
package processes
