/* Rust's standard library takes random numbers from ProcessPrng of bcryptprimitives.dll, which Wine 8 does not have.
 * This is that function over SystemFunction036 (RtlGenRandom) of advapi32.dll, which Wine has. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    while (length)
    {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(buffer, part))
            return FALSE;
        buffer += part;
        length -= part;
    }
    return TRUE;
}
