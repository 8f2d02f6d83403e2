// What the C++ runtime and our objects, compiled with glibc's headers, ask of the C library and musl 1.2.3 does not
// have (docs/adr/0023).
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// NOLINTBEGIN(bugprone-reserved-identifier): they are the library's.
extern "C" {

// libstdc++: whether reference counts need no atomic operation. Nothing here starts a thread.
char __libc_single_threaded = 1;

// libgcc's unwinder: there is no frame to unwind to, since nobody catches. So an exception that nobody is to throw ends
// in std::terminate, as it does with any library.
int _dl_find_object(void*, void*) { return -1; }

int renameat2(int old_directory, const char* old_name, int new_directory, const char* new_name, unsigned flags) {
  return static_cast<int>(::syscall(SYS_renameat2, old_directory, old_name, new_directory, new_name, flags));
}

int statx(int directory, const char* path, int flags, unsigned mask, struct statx* out) {
  return static_cast<int>(::syscall(SYS_statx, directory, path, flags, mask, out));
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
