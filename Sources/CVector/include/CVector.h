#ifndef ATOLL_CVECTOR_H
#define ATOLL_CVECTOR_H
#endif
