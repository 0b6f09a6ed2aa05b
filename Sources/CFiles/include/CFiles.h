// File operations of Linux that glibc shows only to programs that ask for GNU extensions, which Swift's import does not.
#ifndef ATOLL_CFILES_H
#define ATOLL_CFILES_H

// Swaps two names in one step; 0, or -1 with errno.
int files_exchange(const char *_Nonnull one, const char *_Nonnull other);

#endif
